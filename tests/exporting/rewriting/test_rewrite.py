"""Networks with operators that converters fail on come out of them verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from building import delivered, net
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn.functional import avg_pool1d, avg_pool2d, avg_pool3d, interpolate, max_pool2d, pad

from deploy_prune.exporting.rewriting.rewrite import REWRITES, rewrite
from deploy_prune.values import Network

IMAGE = (3, 6, 8)


class Hard(nn.Module):
    """What litert-torch fails on: paddings, uneven sizes, an expanded weight, powers of five dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 4, 3, 2, 1, output_padding=1)
        self.weight = nn.Parameter(torch.rand(4))

    def forward(self, x: Tensor) -> Tensor:
        y = interpolate(self.up(x), size=(11, 15), mode="nearest")
        y = self.weight[None, :, None, None].expand_as(y) * y
        return y.unflatten(3, (5, 3)).sigmoid().pow(1.5)


def export(module: nn.Module) -> GraphModule:
    graph = torch.export.export(module.eval(), (torch.randn(1, *IMAGE),)).module(check_guards=False)
    assert isinstance(graph, GraphModule)
    return graph


def test_a_network_that_needs_nothing_is_itself() -> None:
    graph = export(nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.ReLU()))
    assert all(rewrite(graph, suffix) is graph for suffix in (".tflite", ".mlpackage", ".pte", ".onnx"))


def test_the_rewritten_network_computes_the_same() -> None:
    module, image = Hard().eval(), torch.randn(1, *IMAGE)
    rewritten = rewrite(export(module), ".tflite")
    assert rewritten is not module
    torch.testing.assert_close(rewritten(image), module(image))


def test_every_row_names_operators_of_torch() -> None:
    for name in (name for row in REWRITES for name in row.operators):
        packet, overload = name.split(".")
        assert overload in getattr(torch.ops.aten, packet).overloads()


@pytest.mark.heavy
def test_litert_runs_what_its_converter_fails_on(tmp_path: Path) -> None:
    torch.manual_seed(0)
    row = delivered(Network("tests:hard", Hard().eval(), (IMAGE,), 5), "tflite", tmp_path)
    assert (row.status, row.reason) == ("verified", "")


@pytest.mark.heavy
@pytest.mark.parametrize("options", [{}, {"opset": 13, "dynamic_batch": True}], ids=["now", "oldest, any batch"])
def test_onnx_runtime_divides_and_rounds_as_torch_does(tmp_path: Path, options: dict[str, Any]) -> None:
    """A last window that hangs over or would begin outside, a divisor; of one to three dimensions."""
    network = net(
        lambda _, x: (
            avg_pool1d(x.flatten(2), 2, 3, ceil_mode=True),
            avg_pool2d(x, 2, 3, ceil_mode=True),
            avg_pool2d(x, 3, 2, divisor_override=5),
            avg_pool3d(x.unflatten(2, (3, 2)), 2, 3, ceil_mode=True),
            max_pool2d(x[:, :, :5], 2, 4, ceil_mode=True),
        ),
        IMAGE,
    )
    row = delivered(network, "onnx", tmp_path, **options)
    assert (row.status, row.reason) == ("verified", "")


@pytest.mark.heavy
def test_executorch_takes_the_largest_of_the_channels(tmp_path: Path) -> None:
    network = net(lambda _, x: (x * x.max(1, keepdim=True)[0], x.min(2)[0], pad(x, (-1, 0, -2, 1))))
    row = delivered(network, "executorch", tmp_path)
    assert (row.status, row.reason) == ("verified", "")


@pytest.mark.heavy
def test_core_ml_is_read_alike_by_us_and_by_apple(tmp_path: Path) -> None:
    """Average pooling that hangs over, and an output padding, which leaves a crop."""
    network = net(
        lambda net, x: (
            net.up(x),
            avg_pool2d(x[:, :, :7, :7], 2, 3, ceil_mode=True),
            pad(x, (1, 1, 0, 2), mode="circular"),
        ),
        up=nn.ConvTranspose2d(3, 4, 3, 2, 1, output_padding=1),
    )
    row = delivered(network, "coreml", tmp_path)
    assert (row.status, row.reason) == ("verified", "")
