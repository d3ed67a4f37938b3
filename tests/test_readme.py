"""What the README says is true: its tables are the records', its commands exist, its example runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import readme
from deploy_prune.__main__ import VERBS, run

TEXT = readme.README.read_text()


def blocks(mark: str) -> str:
    found = re.search(rf"<!-- example: {mark} -->\n```\w+\n(.*?)```", TEXT, re.DOTALL)
    assert found, f"the README has no block '{mark}'"
    return found.group(1)


COMMANDS = [shlex.split(line) for line in blocks("commands").splitlines()]


def test_the_tables_are_those_of_the_records():
    assert readme.updated(TEXT) == TEXT, "run: python -m benchmarks.readme"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[1])
def test_every_flag_of_the_example_exists(command, capsys):
    assert command[1] in VERBS
    assert run([command[1], "--help"]) == 0
    known = capsys.readouterr().out
    for flag in (word for word in command if word.startswith("--")):
        assert flag in known


def test_the_make_targets_exist():
    makefile = (readme.README.parent / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", TEXT, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder with the network of the example and (untrained) weights for it."""
    from deploy_prune.sources.networks import build_network
    from deploy_prune.sources.weights import save_weights

    where = tmp_path_factory.mktemp("user")
    (where / "my_net.py").write_text(blocks("my_net.py"))
    network = build_network(f"{where / 'my_net.py'}:build", classes=10, input_shape=(3, 32, 32))
    save_weights(network.module, where / "my_net.safetensors")
    return where


@pytest.mark.slow
@pytest.mark.ci
def test_the_example_runs_as_it_stands(folder):
    for command in COMMANDS:
        argv = [sys.executable, "-m", "deploy_prune", *command[1:]]
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
        # Untrained weights ship well and may be no faster on a busy machine: both are said by their codes.
        assert done.returncode in (0, 6), done.stderr
    assert (folder / "run" / "export-1" / "pruned.tflite").is_file()


@pytest.mark.slow
@pytest.mark.ci
def test_the_python_example_runs_as_it_stands(folder):
    script = blocks("python") + "\nprint(sum(p.numel() for p in small.parameters()), summary.dense.count.params)\n"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    small, dense = map(int, done.stdout.split())
    assert 0 < small < dense
    assert Path(folder / "python-run" / "report.md").is_file()
