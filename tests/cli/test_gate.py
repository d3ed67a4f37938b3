"""`deploy-prune gate`: exit codes, and files for CI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from deploy_prune.__main__ import run
from deploy_prune.analysis.gating.gate import GateResult
from deploy_prune.analysis.gating.limits import Limits, Verdict
from deploy_prune.cli.gate import find_error, parse_outputs, read_template
from deploy_prune.errors import ConfigError, UnknownName


def test_a_file_against_itself_passes_or_is_not_told(
    tiny_tflite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A busy machine says nothing, and that is no failure."""
    files = ["--baseline", str(tiny_tflite), "--candidate", str(tiny_tflite)]
    forms = [f"--output={form}={tmp_path / form}" for form in ("junit", "markdown", "annotation", "figures")]
    assert run(["gate", *files, "--max-ratio", "2", "--time-limit", "5", *forms, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["gate"]
    assert told["verdict"] in {"passed", "inconclusive"}
    assert ElementTree.parse(tmp_path / "junit").getroot().tag == "testsuite"
    assert all((tmp_path / form).exists() for form in ("markdown", "annotation", "figures"))


def test_two_formats_are_refused_by_name(
    tiny_tflite: Path, tiny_onnx: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["gate", "--baseline", str(tiny_tflite), "--candidate", str(tiny_onnx), "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["gate"]["verdict"] == "not comparable"
    assert "the baseline runs on litert, the candidate on onnxruntime" in told["error"]["message"]


@pytest.mark.parametrize(
    ("verdict", "strict", "code"),
    [("passed", True, 0), ("failed", False, 1), ("not comparable", False, 2), ("inconclusive", False, 0),
     ("inconclusive", True, 5)],
)  # fmt: skip
def test_each_verdict_has_an_exit_code(verdict: Verdict, strict: bool, code: int) -> None:
    error = find_error(GateResult(verdict, "why", "a", "b", "c", "litert", 1, Limits()), strict=strict)
    assert (error.exit_code if error else 0) == code


@pytest.mark.parametrize("wrong", ["html=a", "junit", "junit="])
def test_a_form_that_there_is_not_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match="write --output FORM=FILE"):
        parse_outputs([wrong])


def test_two_files_are_needed() -> None:
    assert run(["gate", "--baseline", "a.tflite"]) == 2


def test_an_unknown_template_is_refused() -> None:
    with pytest.raises(UnknownName, match="github, gitlab"):
        read_template("jenkins")


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["github", "gitlab"])
def test_the_commands_of_a_template_run(name: str, tiny_tflite: Path, tmp_path: Path) -> None:
    """Everything that the job runs but the installation, as the CI system would run it."""
    job = yaml.safe_load(read_template(name))
    variables = {"BASELINE": str(tiny_tflite), "CANDIDATE": str(tiny_tflite), "MAX_RATIO": "2", "DEVICE": "local"}
    if name == "github":
        script = job["runs"]["steps"][1]["run"]
        assert set(job["runs"]["steps"][1]["env"]) == set(variables)
    else:
        (script,) = job["latency-gate"]["script"]
        assert set(job["latency-gate"]["variables"]) == set(variables)
    summary = tmp_path / "summary.md"
    environment = {**os.environ, **variables, "GITHUB_STEP_SUMMARY": str(summary), "PATH": find_path(tmp_path)}
    done = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env=environment, check=False)
    assert done.returncode in {0, 5}  # a busy machine says nothing
    assert ElementTree.parse(tmp_path / "gate.xml").getroot().tag == "testsuite"
    assert name == "gitlab" or "Latency gate" in summary.read_text()


def find_path(folder: Path) -> str:
    """A search path on which `deploy-prune` is this package."""
    script = folder / "bin" / "deploy-prune"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m deploy_prune "$@"\n')
    script.chmod(0o755)
    return f"{script.parent}{os.pathsep}{os.environ['PATH']}"


def test_a_record_grows_and_is_shown(tiny_tflite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Measured once: too few to say anything, which is no failure; `history` shows it."""
    record = tmp_path / "runs.sqlite"
    asked = ["gate", "--candidate", str(tiny_tflite), "--baseline-record", str(record), "--time-limit", "5", "--json"]
    assert run(asked) == 2
    assert "there are no measurements" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert run([*asked, "--update-baseline"]) == 0
    told = json.loads(capsys.readouterr().out)["gate"]
    assert told["verdict"] == "inconclusive"
    if not told["why"].startswith("0 of the 8"):
        pytest.skip(f"the machine is too noisy to time anything: {told['why']}")
    assert run(["history", str(record), "--json"]) == 0
    (series,) = json.loads(capsys.readouterr().out)["series"]
    assert series["series"]["name"] == tiny_tflite.name
    assert len(series["runs"]) == 1


def test_a_calibration_says_what_can_be_told(tiny_tflite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["gate", "--baseline", str(tiny_tflite), "--calibrate", "3", "--time-limit", "4", "--json"]
    code = run([*asked, "--max-ratio", "1.0000001"])
    told = json.loads(capsys.readouterr().out)
    if told.get("error", {}).get("kind") == "Inconclusive":
        pytest.skip("the machine is too noisy to time anything")
    assert code == 2
    assert (told["calibration"]["smallest_limit"] or 9.0) > 1.0000001  # none: a session took too long to say anything
    assert "is below what this device tells apart" in told["error"]["message"]
