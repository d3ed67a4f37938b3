"""`deploy-prune bundle`: one of three things to do, exit codes, and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bundled import make_run

from deploy_prune.__main__ import run


def test_bundle_check_and_diff_go_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wide, narrow = make_run(tmp_path / "wide", seed=1), make_run(tmp_path / "narrow", seed=2)
    out = tmp_path / "out"
    made = ["bundle", str(wide), str(narrow), "--format", "onnx", "--app", "android", "--out", str(out)]
    assert run([*made, "--group", f"Qualcomm_SM8750={narrow}", "--licence", "MIT"]) == 0
    told = capsys.readouterr().out
    assert "wide" in told and "bundle --check" in told
    assert run(["bundle", "--check", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True
    assert run(["bundle", "--diff", str(out), str(out)]) == 0
    assert "nothing is different" in capsys.readouterr().out
    (out / "README.md").write_text("changed")
    assert run(["bundle", "--check", str(out)]) == 2
    assert "README.md has changed since the bundle was made" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [[], ["--check", "a", "--diff", "a", "b"], ["run", "--check", "a"]],
)
def test_one_of_three_things_is_done(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bundle", *arguments]) == 2
    assert "which one is meant" in capsys.readouterr().err


def test_a_group_names_a_chip_and_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bundle", "run", "--group", "Qualcomm_SM8750"]) == 2
    assert "is not SOC=RUN" in capsys.readouterr().err
    assert run(["bundle", "run", "--app", "windows"]) == 2
