"""Several budgets, a drop and sensitivity from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tinyrun import config, toml, written

from deploy_prune import __main__
from deploy_prune.pipeline.run import prune
from deploy_prune.records import read_record
from deploy_prune.results import WidthsResult
from deploy_prune.run_folder import read_asked

LEGR = ["--method", "legr", *(
    part
    for option in (
        "candidates=6", "population=3", "tournament=2", "images=40", "norm_images=40", "lag=2", "finalists=3"
    )
    for part in ("--method-option", option)
)]  # fmt: skip


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = written(tmp_path_factory.mktemp("sources"))
    return toml(folder)


def run(*arguments: str) -> int:
    return __main__.run([*arguments])


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.heavy
def test_several_budgets_make_a_front(settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["prune", "--config", str(settings), *LEGR, "--workers", "1", "--budget", "0.8x,0.5x"]
    assert run(*arguments, "--out", str(tmp_path / "front")) == 0
    shown = capsys.readouterr().out
    for word in ("pruned", "uniform", "dense", "0.8x", "0.5x", "top-1 test"):
        assert word in shown
    assert run(*arguments, "--out", str(tmp_path / "front"), "--json") == 0
    points = told(capsys)["front"]["points"]
    assert [point["kind"] for point in points] == ["dense", "pruned", "uniform", "pruned", "uniform"]


@pytest.mark.heavy
def test_the_fastest_network_within_a_drop(settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--budget", "0.5x", "--max-drop", "100", "--out", str(tmp_path / "drop")]
    assert run("prune", "--config", str(settings), *LEGR, "--workers", "1", *arguments) == 0
    shown = capsys.readouterr().out
    assert "At most 100 points" in shown
    assert "**top-1 on test, once**" in shown


@pytest.mark.parametrize(("arguments", "said"), [
    (["--budget", "0.8x,0.5x", "--max-drop", "1"], "contradict each other"),
    (["--budget", "0.8x,0.5x", "--plan", "plan.json"], "a plan is one network"),
    (["--budget", "0.8x,params=0.5x"], "of several kinds"),
    (["--budget", "0.8x,", "--method", "uniform"], "has an empty name"),
    (["--max-drop", "-1"], "leaves no network"),
    (["--workers", "many"], "unknown worker 'many'"),
    (["--workers", "ray:x"], "names no workers"),
    (["--method", "legr", "--method-option", "candidates=3"], "candidates at least the population"),
    (["--method", "legr", "--method-option", "generations=3"], "unknown option of legr"),
    (["--scores", "nowhere"], "holds no scores"),
    (["--select", "."], "holds no scores"),
    (["--method", "dcp", "--widths", "magnitud"], "did you mean 'magnitude'"),
    (["--method", "legr", "--widths", "magnitude"], "decides widths by itself"),
    (["--method", "dcp"], "the network has 1 block"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run("prune", "--config", str(settings), *arguments, "--out", str(tmp_path / "run")) == 2
    assert said in capsys.readouterr().err


@pytest.mark.heavy
def test_sensitivity_shows_every_group(settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = settings.parent
    prune(config(folder), tmp_path / "run")
    arguments = [
        "--trust-code",
        "--data",
        f"{folder}/data.py:read",
        "--images",
        "40",
        "--workers",
        "1",
        "--shares",
        "0.5,0.25",
    ]
    assert run("sensitivity", str(tmp_path / "run"), *arguments, "--plot", str(tmp_path / "curves.html")) == 0
    shown = capsys.readouterr().out
    assert "stem.0" in shown
    assert "at 4" in shown
    assert "stem.0" in (tmp_path / "curves.html").read_text()
    assert run("sensitivity", str(tmp_path / "run"), *arguments, "--plot", "curves.svg") == 2
    assert "neither .png nor .html" in capsys.readouterr().err


@pytest.mark.heavy
def test_a_front_that_is_killed_goes_on_to_the_same_networks(settings: Path, tmp_path: Path) -> None:
    """Killed in the search, and again in the second run of the front."""
    arguments = [
        sys.executable, "-m", "deploy_prune", "prune", "--config", str(settings), *LEGR, "--workers", "2",
        "--budget", "0.8x,0.5x", "--no-controls", "--out",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    undisturbed = tmp_path / "undisturbed"
    subprocess.run([*arguments, str(undisturbed)], check=True, timeout=180, **quiet)  # type: ignore[call-overload]
    killed = tmp_path / "killed"
    for moment in ("search.json", "0.5x/cut.json"):
        with subprocess.Popen([*arguments, str(killed)], **quiet) as process:  # type: ignore[call-overload]
            deadline = time.monotonic() + 120
            while not (killed / moment).exists() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
    subprocess.run([*arguments, str(killed)], check=True, timeout=180, **quiet)  # type: ignore[call-overload]
    for run_name in ("0.8x", "0.5x"):
        for file in ("plan.json", "round-1/weights.safetensors"):
            assert (killed / run_name / file).read_bytes() == (undisturbed / run_name / file).read_bytes()
    assert (killed / "scores.safetensors").read_bytes() == (undisturbed / "scores.safetensors").read_bytes()


@pytest.mark.heavy
def test_a_method_selects_at_the_widths_of_another(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dcp = [part for option in ("images=64", "batch_size=32") for part in ("--method-option", option)]
    arguments = ["prune", "--config", str(settings), "--method", "dcp", *dcp, "--heads", "0", "--budget", "0.6x"]
    assert run(*arguments, "--widths", "magnitude", "--out", str(tmp_path / "run")) == 0
    assert "by dcp at widths of 'magnitude'" in capsys.readouterr().out
    for widths in (str(tmp_path / "run"), f"magnitude:{tmp_path / 'run'}"):
        again = tmp_path / f"again-{len(widths)}"
        assert run(*arguments, "--widths", widths, "--out", str(again), "--json") == 0
        assert told(capsys)["summary"]["plan"]["method"].startswith("dcp at widths of ")
        assert read_record(again / "widths.json", WidthsResult) == read_record(
            tmp_path / "run" / "widths.json", WidthsResult
        )
    assert run(*arguments, "--widths", f"legr:{tmp_path / 'run'}", "--out", str(tmp_path / "wrong")) == 2
    assert "not by 'legr'" in capsys.readouterr().err


@pytest.mark.heavy
def test_heads_epsilon_and_the_options_of_who_decides_widths_are_flags(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["prune", "--config", str(settings), "--method", "dcp", "--heads", "0", "--epsilon", "0.5"]
    arguments += [part for option in ("images=64", "batch_size=32") for part in ("--method-option", option)]
    arguments += ["--budget", "0.6x", "--widths", "magnitude"]
    assert run(*arguments, "--widths-option", "norm=l1", "--out", str(tmp_path / "run")) == 0
    asked = read_asked(tmp_path / "run")
    assert asked["method_options"] == {"images": 64, "batch_size": 32, "heads": 0, "epsilon": 0.5}
    assert asked["widths_options"] == {"norm": "l1"}
    assert run(*arguments, "--widths-option", "norm=l3", "--out", str(tmp_path / "wrong")) == 2
    assert "l3" in capsys.readouterr().err
