"""Padding of .tflite files goes into convolutions where SAME is just that, and stays everywhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from padded import Padded, Pads, write
from torch import nn

from deploy_prune import plugins

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
