"""`bench` on the command line: run folders, and files that are not what their suffix says."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest
from as_user import interpreter
from tinyrun import exported

from deploy_prune import __main__

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short blocks without warming up, however noisy: these tests look at what is said, not at the times."""
    from deploy_prune.timing import bench, bracketing

    monkeypatch.setattr(bench, "PACE", bracketing.Pace(block_ms=1.0, drift=math.inf, warm_up=1))


@pytest.mark.usefixtures("quick")
def test_a_run_is_timed_and_both_comparisons_are_shown(
    tiny_tflite: Path, tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    exported(Path("run"), [tiny_tflite, tiny_onnx])
    assert __main__.run(["bench", "run"]) == 0
    times, _, compared = capsys.readouterr().out.partition("Networks of one format")
    networks, _, formats = compared.partition("Formats of one network")
    for stem in ("dense", "pruned"):
        for suffix in ("tflite", "onnx"):
            assert times.count(f"run/export-1/{stem}.{suffix}") == networks.count(f"{stem}.{suffix}") == 1
        assert formats.count(f"run/export-1/{stem}.") == 2


@pytest.mark.usefixtures("quick")
def test_with_json_a_run_gives_all_figures_and_what_was_skipped(
    tiny_tflite: Path, tiny_onnx: Path, tiny_mlpackage: Path, tmp_path: Path, capsys: Captured
) -> None:
    run = exported(tmp_path / "run", [tiny_tflite, tiny_onnx, tiny_mlpackage])
    assert __main__.run(["bench", str(run), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    found = {Path(each["artifact"]).name: each for each in printed["measurements"]}
    assert list(found) == ["dense.tflite", "pruned.tflite", "dense.onnx", "pruned.onnx"]
    for name, base in (("dense.onnx", "dense.tflite"), ("pruned.onnx", "pruned.tflite")):
        low, high = found[name]["format_ratio_interval"]
        assert Path(found[name]["format_base"]).name == base
        assert 0 < low <= found[name]["format_ratio"] <= high
    assert found["pruned.onnx"]["ratio"] is not None
    assert found["dense.tflite"]["format_ratio"] is None
    assert [Path(each["path"]).name for each in printed["skipped"]] == ["dense.mlpackage", "pruned.mlpackage"]
    assert all("Apple" in each["reason"] for each in printed["skipped"])


def test_a_machine_that_never_holds_still_is_exit_code_5(
    tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """Stands for noise: no two readings are as close as is asked."""
    from deploy_prune.timing import bench, bracketing

    monkeypatch.setattr(bench, "PACE", bracketing.Pace(block_ms=1.0, drift=-1.0, repeats=3))
    assert __main__.run(["bench", str(tiny_onnx), str(tiny_onnx)]) == 5
    said = capsys.readouterr().err
    assert "4 of 4 blocks" in said and "deploy-prune doctor" in said


def test_a_folder_that_is_no_run_is_exit_code_2(tmp_path: Path, capsys: Captured) -> None:
    assert __main__.run(["bench", str(tmp_path)]) == 2
    assert "is no run folder" in capsys.readouterr().err


DAMAGES = {
    "truncated": lambda content: content[: len(content) // 2],
    "foreign": lambda _: b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8,
    "empty": lambda _: b"",
}


@pytest.mark.heavy
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("suffix", ["tflite", "onnx", "pte"])
def test_a_bad_file_among_good_ones_is_exit_code_2_and_named(
    suffix: str, damage: str, tiny_onnx: Path, tmp_path: Path, capfd: Captured, request: pytest.FixtureRequest
) -> None:
    good: Path = request.getfixturevalue(f"tiny_{suffix}")
    bad = tmp_path / f"bad.{suffix}"
    bad.write_bytes(DAMAGES[damage](good.read_bytes()))
    capfd.readouterr()
    assert __main__.run(["bench", str(tiny_onnx), str(bad)]) == 2
    said = capfd.readouterr()
    assert said.err.startswith("error: ")
    assert str(bad) in said.err.splitlines()[0]
    assert "Traceback" not in said.err
    assert said.out == ""


def test_a_file_that_crashes_its_runtime_is_exit_code_3_and_named(
    tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """Stands for native code that trips over a file: the worker aborts."""
    monkeypatch.setattr(sys, "executable", interpreter(tmp_path, "import os; os.abort()"))
    assert __main__.run(["bench", str(tiny_onnx)]) == 3
    assert f"the process that ran {tiny_onnx} died (exit -6)" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["bench", "explain"])
def test_a_device_that_is_no_address_is_refused_before_anything_is_read(verb: str, capsys: Captured) -> None:
    assert __main__.run([verb, "nothing.onnx", "nothing.onnx", "--device", "cuda"]) == 2
    assert "'cuda' is no device that files can be timed on" in capsys.readouterr().err
