"""What a file computes from constants alone is found without computing it, and refused where it is too much."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from deploy_prune import __main__
from deploy_prune.errors import InputError
from deploy_prune.formats.onnx_constants import cut_out_constants
from deploy_prune.formats.protobuf import Malformed
from deploy_prune.timing.runtimes.onnxruntime import OnnxRuntime

FILLED = (helper.make_node("ConstantOfShape", ["size"], ["filled"]), helper.make_node("ReduceSum", ["filled"], ["sum"]))
SPREAD = (
    helper.make_node("Expand", ["one", "size"], ["filled"]),
    helper.make_node("Mul", ["filled", "filled"], ["squares"]),
    helper.make_node("ReduceSum", ["squares"], ["sum"]),
)
CROSSED = (
    helper.make_node("MatMul", ["row", "column"], ["crossed"]),
    helper.make_node("ReduceSum", ["crossed"], ["sum"]),
)


def write(path: Path, nodes: tuple[Any, ...], side: int) -> Path:
    """A file that adds to its input, (1, 4), the sum of constants of `side` times `side`."""
    given = {
        "size": np.array([side, side], np.int64),
        "one": np.ones((1, 1), np.float32),
        "row": np.ones((min(side, 40_000), 1), np.float32),
        "column": np.ones((1, min(side, 40_000)), np.float32),
        "unread": np.ones(50_000, np.float32),
    }
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "y")]
    graph = helper.make_graph(
        [*nodes, helper.make_node("Add", ["x", "sum"], ["y"])], "grown", ends[:1], ends[1:],
        [numpy_helper.from_array(array, name) for name, array in given.items()],
    )  # fmt: skip
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_the_part_that_depends_on_no_input_is_cut_out_without_the_weights_of_the_rest(tmp_path: Path) -> None:
    path = write(tmp_path / "file.onnx", FILLED, 3)
    part = cut_out_constants(path)
    assert part.names == ("filled", "sum")
    assert len(part.model) < 500 < path.stat().st_size


def test_a_file_of_an_exporter_computes_nothing_from_constants(tiny_onnx: Path) -> None:
    assert cut_out_constants(tiny_onnx).names == ()


@pytest.mark.parametrize(("nodes", "grown"), [(FILLED, "filled"), (SPREAD, "filled"), (CROSSED, "crossed")])
def test_constants_that_grow_to_gigabytes_are_refused_before_anything_is_computed(
    nodes: tuple[Any, ...], grown: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "large.onnx", nodes, 30_000)
    with pytest.raises(
        InputError, match=rf"computes [3-9],\d\d\d MB from its constants alone, most of it in '{grown}'"
    ):
        OnnxRuntime().prepare(path)


@pytest.mark.parametrize("nodes", [FILLED, SPREAD, CROSSED])
def test_constants_of_a_usual_size_run(nodes: tuple[Any, ...], tmp_path: Path) -> None:
    path = write(tmp_path / "small.onnx", nodes, 1_000)
    OnnxRuntime().prepare(path)
    (answer,) = OnnxRuntime().open(path, threads=1).run(np.zeros((1, 4), np.float32))
    assert answer.flatten().tolist() == [0 if nodes == FILLED else 1e6] * 4


def test_what_is_no_onnx_file_is_left_to_whoever_opens_it(tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(write(tmp_path / "whole.onnx", FILLED, 3).read_bytes()[:-2000])
    with pytest.raises(Malformed):
        cut_out_constants(path)
    OnnxRuntime().prepare(path)


@pytest.mark.heavy
def test_bench_refuses_such_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.run(["bench", str(write(tmp_path / "large.onnx", FILLED, 30_000))]) == 2
    assert "from its constants alone" in capsys.readouterr().err
