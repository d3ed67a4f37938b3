"""`doctor FILE` prints what a file needs and holds; a file that does not open here is told, with an exit code."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from absent import uninstall
from as_user import interpreter

from deploy_prune import __main__
from deploy_prune.cli.doctor import write_share, write_weight_shares

Captured = pytest.CaptureFixture[str]


def lines(capsys: Captured) -> str:
    """What was printed, with blanks and borders of tables made one."""
    return " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_without_a_file_it_is_about_the_machine(capsys: Captured) -> None:
    assert __main__.run(["doctor"]) == 0
    assert "What it can do" in capsys.readouterr().out


def test_a_file_is_told_in_tables(tiny_tflite: Path, capsys: Captured) -> None:
    assert __main__.run(["doctor", str(tiny_tflite)]) == 0
    said = lines(capsys)
    for part in ("TensorFlow Lite, schema 3", "takes all 4 operators", "CONV_2D 1 XNNPACK", "1x16x24x3", "yes: litert"):
        assert part in said


def test_with_json_it_is_one_object(tiny_onnx: Path, capsys: Captured) -> None:
    assert __main__.run(["doctor", str(tiny_onnx), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["file"]
    assert found["path"] == str(tiny_onnx)
    assert {"name": "Conv", "count": 2, "kernels": "ONNX Runtime"} in found["report"]["operators"]
    assert found["opening"]["opens"] is True


def test_a_package_of_core_ml_is_read_where_nothing_opens_it(tiny_mlpackage: Path, capsys: Captured) -> None:
    assert __main__.run(["doctor", str(tiny_mlpackage)]) == 0
    assert "not known: Core ML runs on Apple devices" in lines(capsys)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("net.tflite", b"", "is no readable .tflite file"),
        ("net.onnx", b"\x89PNG\r\n\x1a\n", "is no readable .onnx file"),
        ("net.pte", b'{"a": 1}', "is not a .pte file"),
        ("net.mlpackage", b"file", "is not a folder"),
        ("net.png", b"\x89PNG\r\n\x1a\n", "is of no known format"),
        ("net", b"", "is of no known format"),
    ],
)
def test_a_foreign_file_is_exit_code_2(name: str, content: bytes, said: str, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / name).write_bytes(content)
    assert __main__.run(["doctor", str(tmp_path / name)]) == 2
    assert f"{tmp_path / name} {said}" in capsys.readouterr().err


def test_a_missing_file_is_exit_code_2(tmp_path: Path, capsys: Captured) -> None:
    assert __main__.run(["doctor", str(tmp_path / "none.onnx"), "--json"]) == 2
    assert "does not exist" in json.loads(capsys.readouterr().out)["error"]["message"]


def refused_onnx(path: Path) -> Path:
    """A file that is read well and asks for an operator that no runtime has."""
    from onnx import TensorProto, helper, save

    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    node = helper.make_node("Levitate", ["x"], ["y"], name="up\x1b[31m")
    graph = helper.make_graph([node], "net", tensors[:1], tensors[1:])
    graph.input[0].name = node.input[0] = "x\x1b[31m"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def test_a_file_that_the_runtime_refuses_is_told_in_full_and_exit_code_2(tmp_path: Path, capsys: Captured) -> None:
    path = refused_onnx(tmp_path / "net.onnx")
    assert __main__.run(["doctor", str(path)]) == 2
    captured = capsys.readouterr()
    assert "Levitate" in captured.out
    assert "net.onnx" in captured.err


def test_names_in_a_file_cannot_steer_the_terminal(tmp_path: Path, capsys: Captured) -> None:
    __main__.run(["doctor", str(refused_onnx(tmp_path / "net.onnx"))])
    out = capsys.readouterr().out
    assert r"x\x1b[31m" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_file_that_ends_the_runtime_is_exit_code_3(
    flags: list[str], tiny_onnx: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that aborts stands for native code on a damaged file."""
    monkeypatch.setattr(sys, "executable", interpreter(tmp_path, "import os; os.abort()"))
    assert __main__.run(["doctor", str(tiny_onnx), *flags]) == 3
    out = capsys.readouterr().out
    if flags:
        opening = json.loads(out)["file"]["opening"]
        assert (opening["opens"], opening["exit_code"]) == (False, 3)
    assert "died (exit -6)" in out


def test_an_exception_in_the_runtimes_process_is_told_by_its_last_line(
    tiny_onnx: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", interpreter(tmp_path, "raise KeyError('shape')"))
    assert __main__.run(["doctor", str(tiny_onnx)]) == 3
    assert capsys.readouterr().err == f"error: the process that ran {tiny_onnx} died (exit 1): KeyError: 'shape'\n"


def test_a_runtime_that_is_not_installed_is_no_failure(
    tiny_onnx: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninstall(monkeypatch, "onnxruntime")
    assert __main__.run(["doctor", str(tiny_onnx)]) == 0
    assert "not known: onnxruntime not installed: pip install 'deploy-prune[" in lines(capsys)


def test_shares_are_never_rounded_to_nothing_or_to_all() -> None:
    assert [write_share(part) for part in (1.0, 0.99999, 0.5, 0.001, 0.0001)] == [
        "100 %", "99.9 %", "50.0 %", "0.1 %", "under 0.1 %",
    ]  # fmt: skip
    assert write_weight_shares({"float16": 1500, "float32": 500}) == "float16 75.0 %, float32 25.0 % of 2,000 bytes"
    assert write_weight_shares({}) == "none"
