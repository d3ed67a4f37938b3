"""Zero padding of ONNX models goes into convolutions, and stays where something else reads it or it is no zero."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper
from padded import Padded, write
from torch import nn

from deploy_prune.formats.onnx_padding import fold_padding

SIDES = (0, 0, 0, 0, 0, 0, 1, 1)


def test_an_exported_file_has_no_padding_before_a_convolution(tmp_path: Path) -> None:
    path = tmp_path / "padded.onnx"
    error = write(Padded((0, 1, 0, 1), nn.Conv2d(3, 6, 3, stride=2, padding=1)), "onnx", path)
    graph = onnx.load(path).graph
    assert [node.op_type for node in graph.node] == ["Conv"]
    assert {each.name: list(each.ints) for each in graph.node[0].attribute}["pads"] == [1, 1, 2, 2]
    assert error < 1e-5


def test_padding_that_is_an_output_as_well_stays(tmp_path: Path) -> None:
    path = tmp_path / "padded.onnx"
    error = write(Padded((0, 1, 0, 1), nn.Conv2d(3, 6, 3, stride=2), seen=True), "onnx", path)
    assert "Pad" in [node.op_type for node in onnx.load(path).graph.node]
    assert error < 1e-5


def model(pads: tuple[int, ...] = SIDES, value: float | None = None, **attributes: Any) -> Any:
    """A Pad before a Conv; what the Conv has is `attributes`, but for the Pad's own mode."""
    mode = {"mode": attributes.pop("mode")} if "mode" in attributes else {}
    constants = [helper.make_tensor("pads", TensorProto.INT64, [8], pads),
                 helper.make_tensor("weight", TensorProto.FLOAT, [1, 1, 3, 3], [1.0] * 9)]  # fmt: skip
    if value is not None:
        constants.append(helper.make_tensor("value", TensorProto.FLOAT, [], [value]))
    padding = helper.make_node("Pad", ["x", "pads", *(["value"] if value is not None else [])], ["padded"], **mode)
    conv = helper.make_node("Conv", ["padded", "weight"], ["y"], **attributes)
    shape = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, None, None]) for name in ("x", "y")}
    return helper.make_model(helper.make_graph([padding, conv], "g", [shape["x"]], [shape["y"]], constants))


def test_what_only_the_padding_read_goes_with_it() -> None:
    graph = fold_padding(model(value=0.0)).graph
    assert [node.op_type for node in graph.node] == ["Conv"]
    assert [each.name for each in graph.initializer] == ["weight"]


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(model(value=1.0), id="not zeros"),
        pytest.param(model((0, 1, 0, 0, 0, 0, 0, 0)), id="channels"),
        pytest.param(model((0, 0, 0, 0, 0, 0, -1, -1)), id="a crop"),
        pytest.param(model(mode="reflect"), id="a mirror"),
        pytest.param(model(auto_pad="SAME_UPPER"), id="a convolution that finds its own padding"),
    ],
)
def test_other_padding_stays(kept: Any) -> None:
    assert [node.op_type for node in fold_padding(kept).graph.node] == ["Pad", "Conv"]
