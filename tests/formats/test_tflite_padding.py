"""Padding of .tflite files goes into convolutions where SAME is just that, and stays everywhere else."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import tiny_tflite
from ai_edge_litert import schema_py_generated as schema
from padded import Padded, Pads, write
from torch import nn

from deploy_prune import plugins
from deploy_prune.formats.tflite_padding import fold_padding, unfold_padding

FOLDED = [
    pytest.param((0, 1, 0, 1), nn.Conv2d(3, 6, 3, stride=2), 16, id="as TensorFlow pads an even side"),
    pytest.param((0, 1, 0, 1), nn.Conv2d(3, 6, 3, stride=2, groups=3), 16, id="depthwise"),
    pytest.param((1, 1, 1, 1), nn.Conv2d(3, 6, 3, stride=2), 15, id="an odd side"),
    pytest.param((1, 2, 1, 2), nn.Conv2d(3, 6, 5, stride=2), 16, id="a kernel of 5"),
    pytest.param((2, 2, 2, 2), nn.Conv2d(3, 6, 3, dilation=2), 16, id="holes in the kernel"),
]
KEPT = [
    pytest.param(Padded((1, 0, 1, 0), nn.Conv2d(3, 6, 3, stride=2)), id="the other side"),
    pytest.param(Padded((0, 1, 0, 0), nn.Conv2d(3, 6, 3, stride=2)), id="one axis alone"),
    pytest.param(Padded((2, 2, 2, 2), nn.Conv2d(3, 6, 3)), id="more than the kernel needs"),
    pytest.param(Padded((0, 1, 0, 1), nn.Conv2d(3, 6, 3, stride=2), seen=True), id="something else reads it"),
]


def count_pads(path: Path) -> int:
    template = plugins.build("templates", "tflite").read(path.read_bytes())
    return sum(operator.name == "PAD" for operator in template.structure.operators)


@pytest.mark.parametrize(("pads", "conv", "side"), FOLDED)
def test_padding_that_is_same_goes_into_the_convolution(pads: Pads, conv: nn.Conv2d, side: int, tmp_path: Path) -> None:
    error = write(Padded(pads, conv), "tflite", tmp_path / "padded.tflite", side)
    assert count_pads(tmp_path / "padded.tflite") == 0
    assert error < 1e-5


@pytest.mark.parametrize("module", KEPT)
def test_other_padding_stays(module: Padded, tmp_path: Path) -> None:
    error = write(module, "tflite", tmp_path / "padded.tflite")
    assert count_pads(tmp_path / "padded.tflite") == 1
    assert error < 1e-5


@pytest.mark.parametrize("side", [15, 16])
def test_padding_before_a_stride_can_stand_by_itself_and_computes_the_same(side: int) -> None:
    tiny = tiny_tflite.Tiny(side)
    first = tiny.conv(tiny.image, 8, 3, 2, padding=tiny_tflite.SAME)
    second = tiny.depthwise(tiny.conv(first, 8, 3, padding=tiny_tflite.SAME), 5, 2, padding=tiny_tflite.SAME)
    same = tiny.finish(second)
    unfolded = copy.deepcopy(same)
    unfold_padding(unfolded, schema)
    kinds = [unfolded.operatorCodes[each.opcodeIndex].builtinCode for each in unfolded.subgraphs[0].operators]
    code = schema.BuiltinOperator
    assert kinds == [code.PAD, code.CONV_2D, code.CONV_2D, code.PAD, code.DEPTHWISE_CONV_2D], "only before a stride"
    image = np.random.default_rng(0).standard_normal((1, side, side, 3)).astype(np.float32)
    expected = tiny_tflite.run(same, image)
    np.testing.assert_array_equal(tiny_tflite.run(unfolded, image), expected)
    assert len(fold_padding(unfolded, schema).subgraphs[0].operators) == len(same.subgraphs[0].operators)
