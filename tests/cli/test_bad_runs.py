"""Plans and run folders that do not fit, packages that are missing, places where nothing can be written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from deploy_prune import __main__
from deploy_prune.records import write_record
from deploy_prune.values import Plan

Captured = pytest.CaptureFixture[str]
Refused = Callable[..., str]


def test_a_plan_that_does_not_fit(refused: Refused, folder: Path) -> None:
    write_record(folder / "plan.json", Plan(network="", keep={"up.0": (0, 99)}))
    assert "group 'up.0' keeps units that do not exist" in refused("--plan", folder / "plan.json", code=2)


@pytest.mark.parametrize(("text", "said"), [("{", "is damaged"), ('{"schema": 99}', "has schema 99")])
def test_a_plan_that_is_none(refused: Refused, folder: Path, text: str, said: str) -> None:
    (folder / "plan.json").write_text(text)
    assert said in refused("--plan", folder / "plan.json", code=2)


def test_a_plan_that_is_missing(refused: Refused, folder: Path) -> None:
    assert "plan.json does not exist" in refused("--plan", folder / "plan.json", code=2)


@pytest.mark.parametrize("verb", ["report", "finetune", "inspect"])
def test_a_folder_that_is_no_run(verb: str, tmp_path: Path, capsys: Captured) -> None:
    assert __main__.run([verb, str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "no run folder" in said or "holds no finished network" in said


def test_a_damaged_record(refused: Refused, folder: Path) -> None:
    refused(code=0)
    (folder / "run" / "cut.json").write_text('{"schema": 1, "kin')
    assert "cut.json is damaged" in refused(code=2)


def test_folders_beside_the_rounds_do_not_count(folder: Path, refused: Refused, capsys: Captured) -> None:
    refused(code=0)
    for name in ("round-abc", "round-", "round-²"):
        (folder / "run" / name).mkdir()
    assert __main__.run(["inspect", str(folder / "run"), "--trust-code"]) == 0


def test_a_refused_run_leaves_no_folder(refused: Refused, folder: Path) -> None:
    refused("--classes", "7", code=2, out=folder / "runs" / "first")
    assert not (folder / "runs").exists()


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("package", "flags", "extra"), [("onnxscript", ["--target", "onnx"], "onnx"), ("torch", [], "prune")]
)
def test_a_package_that_is_not_installed(folder: Path, package: str, flags: Sequence[str], extra: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from importlib import metadata; real = metadata.version\n"
        "def version(name):\n"
        f"    if name == {package!r}: raise metadata.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "metadata.version = version\n"
        "from deploy_prune.__main__ import main; main()"
    )
    done = process(folder, ["-c", code, "prune", "--config", f"{folder}/run.toml", *flags], folder / "run")
    assert done.returncode == 3
    assert done.stderr.endswith(f"hint: pip install 'deploy-prune[{extra}]'\n"), done.stderr


def process(folder: Path, arguments: Sequence[str], out: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    line = [sys.executable, *arguments, "--out", str(out)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False, env=environment)


@pytest.mark.heavy
def test_a_full_disk_is_named_and_the_run_goes_on_once_there_is_room(folder: Path, refused: Refused) -> None:
    """A limit on the size of a file stands for the disk: the weights (about 20 kB) do not fit, records do."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))\n"
        "from deploy_prune.__main__ import main; main()"
    )
    done = process(folder, ["-c", code, "prune", "--config", f"{folder}/run.toml", "--no-finetune"], folder / "run")
    assert done.returncode == 7, done.stderr
    assert "Traceback" not in done.stderr
    assert "cannot write" in done.stderr
    assert not (folder / "run" / "dense.json").exists()
    refused(code=0)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no file system here that refuses everyone")
def test_a_place_where_nothing_can_be_written(refused: Refused) -> None:
    assert "choose another output" in refused(code=7, out="/proc/deploy-prune-run")


def test_a_file_where_the_folder_should_be(refused: Refused, folder: Path) -> None:
    (folder / "taken").touch()
    assert "taken" in refused(code=7, out=folder / "taken")
    assert "taken" in refused(code=7, out=folder / "taken" / "run")


def test_a_folder_that_holds_something_else(refused: Refused, folder: Path) -> None:
    assert "is not empty and no run folder" in refused(code=2, out=folder)


def test_changed_settings_of_a_run(refused: Refused) -> None:
    refused(code=0)
    assert "budget was '0.5x', now '0.6x'" in refused("--budget", "0.6x", code=2)
