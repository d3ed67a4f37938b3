"""docs/extending.md, followed word for word: its files are added to a copy of the package, and used as it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy_prune import plugins

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "extending.md").read_text()
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", TEXT, re.DOTALL))
USES = dict(re.findall(r"<!-- use: (\w+) -->\n```\w+\n(.*?)```", TEXT, re.DOTALL))


def test_the_page_adds_one_plugin_of_every_kind() -> None:
    folders = [package.replace(".", "/") for package in plugins.PACKAGES.values()]
    added = [str(Path(name).parent) for name in FILES if name.endswith(".py")]
    assert sorted(added) == sorted(folders)


def test_no_example_takes_the_place_of_a_plugin_that_there_is() -> None:
    assert not [name for name in FILES if (ROOT / name).exists()]


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package and the page's files in it."""
    folder = tmp_path_factory.mktemp("extended")
    shutil.copytree(ROOT / "deploy_prune", folder / "deploy_prune", ignore=shutil.ignore_patterns("__pycache__"))
    for name, content in FILES.items():
        (folder / name).write_text(content)
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.heavy
def test_the_python_of_the_page_runs(extended: Path) -> None:
    done = run(extended, "-c", USES["python"])
    assert done.returncode == 0, done.stderr


@pytest.mark.heavy
def test_the_commands_of_the_page_ship_and_read_a_file(extended: Path) -> None:
    for line in USES["console"].splitlines():
        done = run(extended, "-m", "deploy_prune", *line.split()[1:])
        assert done.returncode == 0, f"{line}: {done.stderr}\n{done.stdout}"
        print(done.stdout)
    assert "aten.conv2d" in done.stdout or "aten.convolution" in done.stdout
    assert (extended / "run" / "export-1" / "pruned.pt2").is_file()


@pytest.mark.slow
def test_the_examples_pass_our_own_types(extended: Path) -> None:
    configured = run(extended, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"))
    assert configured.returncode == 0, configured.stdout
