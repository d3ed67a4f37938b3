"""`deploy-prune gate`: exit codes, and files for CI."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from deploy_prune.__main__ import run
from deploy_prune.analysis.gating.gate import GateResult
from deploy_prune.analysis.gating.limits import Limits, Verdict
from deploy_prune.cli.gate import find_error, parse_outputs
from deploy_prune.errors import ConfigError


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
