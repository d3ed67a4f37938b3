"""`bench` on the command line: run folders, and files that are not what their suffix says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from as_user import interpreter
from bundled import write_linear
from sshd import Board
from tinyrun import exported

from deploy_prune import __main__
from deploy_prune.analysis.artifacts import choose_artifacts
from deploy_prune.cli.bench import show_times
from deploy_prune.timing.bench import time_in_turns
from deploy_prune.timing.devices import THIS_MACHINE
from deploy_prune.timing.fake_device import FakeDevice

Captured = pytest.CaptureFixture[str]


def show_on_fake_device(run: Path, *, as_json: bool = False) -> None:
    """What `bench RUN` shows where a file takes a microsecond per byte."""
    chosen, device = choose_artifacts([run]), FakeDevice(lambda path: 1e-3 * path.stat().st_size)
    show_times(time_in_turns(chosen.artifacts, device=device), chosen, as_json=as_json)


def test_a_run_is_timed_and_both_comparisons_are_shown(
    tiny_tflite: Path, tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    show_on_fake_device(exported(Path("run"), [tiny_tflite, tiny_onnx]))
    times, _, compared = capsys.readouterr().out.partition("Networks of one format")
    networks, _, formats = compared.partition("Formats of one network")
    for stem in ("dense", "pruned"):
        for suffix in ("tflite", "onnx"):
            assert times.count(f"run/export-1/{stem}.{suffix}") == networks.count(f"{stem}.{suffix}") == 1
        assert formats.count(f"run/export-1/{stem}.") == 2


def test_with_json_a_run_gives_all_figures_and_what_was_skipped(
    tiny_tflite: Path, tiny_onnx: Path, tiny_mlpackage: Path, tmp_path: Path, capsys: Captured
) -> None:
    show_on_fake_device(exported(tmp_path / "run", [tiny_tflite, tiny_onnx, tiny_mlpackage]), as_json=True)
    printed = json.loads(capsys.readouterr().out)
    found = {Path(each["artifact"]).name: each for each in printed["measurements"]}
    assert list(found) == ["dense.tflite", "pruned.tflite", "dense.onnx", "pruned.onnx"]
    ratio = tiny_onnx.stat().st_size / tiny_tflite.stat().st_size
    for name, base in (("dense.onnx", "dense.tflite"), ("pruned.onnx", "pruned.tflite")):
        assert Path(found[name]["format_base"]).name == base
        assert [found[name]["format_ratio"], *found[name]["format_ratio_interval"]] == pytest.approx(3 * [ratio])
    assert found["pruned.onnx"]["ratio"] == 1.0
    assert found["dense.tflite"]["format_ratio"] is None
    assert [Path(each["path"]).name for each in printed["skipped"]] == ["dense.mlpackage", "pruned.mlpackage"]
    assert all("Apple" in each["reason"] for each in printed["skipped"])


@pytest.mark.heavy
def test_a_file_is_timed_on_this_machine(tiny_onnx: Path, capsys: Captured) -> None:
    """It stands alone, so that no noise is too much."""
    assert __main__.run(["bench", str(tiny_onnx), "--json"]) == 0
    (measured,) = json.loads(capsys.readouterr().out)["measurements"]
    assert (measured["artifact"], measured["ratio"]) == (str(tiny_onnx), None)
    assert measured["median"] > 0


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


def test_a_file_runs_without_a_pause(tmp_path: Path, capsys: Captured) -> None:
    write_linear(tmp_path / "small.onnx", seed=0)
    assert __main__.run(["bench", str(tmp_path / "small.onnx"), "--sustained", "0.3s", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["sustained"]
    assert len(told["windows"]) == 3 and min(told["windows"]) > 0 and told["unit"] == "ms"
    assert __main__.run(["bench", str(tmp_path / "small.onnx"), "--sustained", "0.3s"]) == 0
    assert "last / first" in capsys.readouterr().out


@pytest.mark.heavy
def test_several_devices_are_timed_and_one_that_fails_is_told_of(
    tiny_onnx: Path, board: Board, capsys: Captured
) -> None:
    there, gone = board.address, "ssh://nobody@127.0.0.1:9?patience_s=0.1"
    asked = ["bench", str(tiny_onnx), "--device", there, "--device", THIS_MACHINE]
    assert __main__.run([*asked, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told["devices"]) == [there, THIS_MACHINE] and told["failed"] == {}
    assert all(len(each) == 1 and each[0]["median"] > 0 for each in told["devices"].values())
    assert __main__.run([*asked, "--device", gone]) == 3
    said = capsys.readouterr()
    assert said.out.index(f"{there}:") < said.out.index(f"{THIS_MACHINE}:")
    assert f"error: {gone}: " in said.err
    assert __main__.run([*asked, "--sustained", "1s"]) == 2
    assert "takes one device" in capsys.readouterr().err


@pytest.mark.parametrize(("flags", "said"), [
    (["--sustained", "long"], "is no time"), (["--sustained", "1s", "--threads", "1,2"], "one count of threads"),
])  # fmt: skip
def test_what_is_no_time_is_refused(flags: list[str], said: str, tmp_path: Path, capsys: Captured) -> None:
    write_linear(tmp_path / "small.onnx", seed=0)
    assert __main__.run(["bench", str(tmp_path / "small.onnx"), *flags]) == 2
    assert said in capsys.readouterr().err
