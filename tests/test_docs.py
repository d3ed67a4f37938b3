"""The pages of docs/ are complete and fresh: links lead somewhere, generated pages are today's, every error is told."""

from __future__ import annotations

import importlib.util
import inspect
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from deploy_prune import errors
from deploy_prune.pipeline.config import HookAddresses, RunConfig, load_config, read_toml
from deploy_prune.train.recipe import Recipe

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks" / "RESULTS.md"])
LINK = re.compile(r"\]\(([^)\s]+)\)")


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """What a code host and the site make of headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    for target in LINK.findall(prose):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tools" / "reference.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_commands_are_those_of_the_command_line(reference: ModuleType) -> None:
    assert reference.CLI.read_text() == reference.cli_page(), "run: python tools/reference.py"


def test_the_configuration_is_that_of_the_fields(reference: ModuleType) -> None:
    assert reference.CONFIG.read_text() == reference.config_page(), "run: python tools/reference.py"


def test_every_error_stands_in_troubleshooting_with_its_code() -> None:
    rows = dict(
        re.findall(r"^\| `(\w+)` \| (\d+) \|", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)
    )
    kinds = {
        name: kind
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.DeployPruneError)
    }
    assert rows == {name: str(kind.exit_code) for name, kind in kinds.items()}


def test_every_exit_code_stands_in_troubleshooting() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    codes = {kind.exit_code for kind in vars(errors).values() if inspect.isclass(kind) and hasattr(kind, "exit_code")}
    for code in {0, errors.OUR_FAULT, errors.INTERRUPTED, errors.UNHEARD, *codes}:
        assert f"\n| {code} | " in text


def test_the_example_configuration_has_every_key() -> None:
    text = (ROOT / "examples" / "run.toml").read_text()
    for key in {*RunConfig.model_fields, *HookAddresses.model_fields, *Recipe.__dataclass_fields__}:
        table = key in {"pretrain", "finetune", "hooks"}
        pattern = rf"^\[{key}\]$" if table else rf"^(# )?{key} = "
        assert re.search(pattern, text, re.MULTILINE), key


def test_the_example_configuration_holds_also_where_it_is_commented_out() -> None:
    text = (ROOT / "examples" / "run.toml").read_text()
    assert load_config(ROOT / "examples" / "run.toml").model == "mobilenet_v2"
    uncommented = read_toml(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE), "examples/run.toml")
    assert RunConfig.model_validate(uncommented).hooks.loss == "hooks.py:focal_loss"


def test_the_quickstart_s_network_and_data_can_be_read(tmp_path: Path) -> None:
    for name in ("my_net", "my_data"):
        text = (ROOT / "docs" / "quickstart.md").read_text()
        found = re.search(rf"```python\n# {name}\.py\n(.*?)```", text, re.DOTALL)
        assert found, name
        (tmp_path / f"{name}.py").write_text(found.group(1))
    network = runpy.run_path(str(tmp_path / "my_net.py"))["build"](num_classes=2)
    data = runpy.run_path(str(tmp_path / "my_data.py"))["load"]()
    assert network[-1].out_features == len(data.classes)


@pytest.mark.heavy
def test_the_site_builds_and_refuses_a_dead_link(tmp_path: Path) -> None:
    site = str(Path(sys.executable).parent / "zensical")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    build = [site, "build", "--strict", "--clean"]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "docs" / "index.md").write_text("[dead](nowhere.md)\n")
    assert subprocess.run(build, cwd=tmp_path, capture_output=True, check=False).returncode != 0
