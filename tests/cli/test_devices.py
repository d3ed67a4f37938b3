"""`devices` and `doctor --device` say what a device is, in tables and as JSON, and what can be done about it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sshd import Board
from tinyrun import toml

from deploy_prune import __main__

Captured = pytest.CaptureFixture[str]


def lines(capsys: Captured) -> str:
    """What was printed, with blanks and borders of tables made one."""
    return " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_this_machine_is_a_device(capsys: Captured) -> None:
    assert __main__.run(["devices", "--json"]) == 0
    (device,) = json.loads(capsys.readouterr().out)["devices"]
    assert device["address"] == "local" and device["reason"] == ""
    about = device["description"]
    assert sum(len(each["cores"]) for each in about["classes"]) == about["cores"]
    assert "coreml" not in about["runtimes"]


def test_one_that_is_not_there_stops_no_other(capsys: Captured) -> None:
    assert __main__.run(["devices", "ssh://nowhere.invalid", "local"]) == 3
    said = lines(capsys)
    assert "ssh://nowhere.invalid not reached: the name of" in said and "local" in said


def test_what_is_no_address_is_refused_before_any_is_asked(capsys: Captured) -> None:
    assert __main__.run(["devices", "local", "phone"]) == 2
    assert "'phone' is no device that files can be timed on" in capsys.readouterr().err


def test_a_board_is_in_the_table(board: Board, capsys: Captured) -> None:
    assert __main__.run(["devices", board.address, "--json"]) == 0
    (device,) = json.loads(capsys.readouterr().out)["devices"]
    assert device["description"]["runtimes"]["onnxruntime"] and device["conditions"]["affinity"]
    assert __main__.run(["doctor", "--device", board.address]) == 0
    said = lines(capsys)
    assert "cores, fastest first" in said and "runtime onnxruntime" in said and "glibc" in said


def test_a_device_that_is_not_there_ends_a_run_before_it_begins(
    sources: Path, tmp_path: Path, capsys: Captured
) -> None:
    config = toml(sources, targets=["onnx"], threads=[1], budget="macs=0.5x")
    command = ["prune", "--config", str(config), "--device", "ssh://nowhere.invalid", "--out", str(tmp_path / "run")]
    assert __main__.run(command) == 3
    assert "the name of ssh://nowhere.invalid leads nowhere" in capsys.readouterr().err
    assert not (tmp_path / "run" / "dense").exists()


def test_this_machine_is_set_up_by_pip(capsys: Captured) -> None:
    assert __main__.run(["doctor", "--device", "local", "--setup"]) == 2
    assert "this machine is set up by pip" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--setup"], "--setup needs a device"), (["net.onnx", "--device", "local"], "on this machine alone")],
)
def test_what_does_not_go_together_is_refused(arguments: list[str], said: str, capsys: Captured) -> None:
    assert __main__.run(["doctor", *arguments]) == 2
    assert said in capsys.readouterr().err
