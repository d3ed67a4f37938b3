"""Every kind of layer gives, at sampled positions, what its blocks give on its rows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from deploy_prune.graph.flat_layers import LayerForm
from deploy_prune.train.refit.forms import as_blocks, from_blocks, sample_rows


def form_of(layer: nn.Module) -> LayerForm:
    if isinstance(layer, nn.Linear):
        return LayerForm("linear")
    assert isinstance(layer, nn.modules.conv._ConvNd)
    kind = "transposed" if layer.transposed else "convolution"
    pads = tuple((int(pad), int(pad)) for pad in layer.padding)
    return LayerForm(kind, layer.stride, pads, layer.dilation, layer.groups)


def check_rows(layer: nn.Module, x: Tensor, positions: int) -> None:
    """Rows times blocks are the layer's outputs at these positions, and blocks go back into a weight."""
    assert isinstance(layer.weight, Tensor)
    weight, form = layer.weight.detach(), form_of(layer)
    with torch.no_grad():
        y = layer(x)
    kernel = weight.shape[2:]
    rows = sample_rows(form, kernel, x, [y], positions=positions, generator=torch.Generator().manual_seed(3))
    blocks = as_blocks(weight, form)
    given = torch.einsum("ngk,gok->ngo", rows.inputs, blocks)
    assert torch.allclose(given, rows.outputs, atol=1e-5)
    assert torch.equal(from_blocks(blocks, form, weight.shape), weight)
    places = y[0, 0].numel() if form.kind != "linear" else y[0].numel() // y.shape[-1]
    assert rows.count == len(x) * min(positions, places)


@given(st.data())
def test_a_convolution_of_any_kind(data: st.DataObject) -> None:
    integer = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    axes, groups = integer(1, 3), integer(1, 3)
    transposed = data.draw(st.booleans())
    layers = ((nn.Conv1d, nn.Conv2d, nn.Conv3d), (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d))
    kind = layers[transposed][axes - 1]
    torch.manual_seed(0)
    layer = kind(
        groups * integer(1, 2), groups * integer(1, 2), kernel_size=integer(1, 3), stride=integer(1, 2),
        padding=integer(0, 1), dilation=integer(1, 2), groups=groups, bias=False,
    )  # fmt: skip
    check_rows(layer, torch.randn(2, layer.in_channels, *[integer(5, 6) for _ in range(axes)]), integer(1, 40))


@pytest.mark.parametrize("shape", [(3, 6), (3, 5, 6), (3, 2, 4, 6)])
def test_a_linear_layer_on_vectors_and_maps(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    check_rows(nn.Linear(6, 4, bias=False), torch.randn(shape), 7)


def test_a_depthwise_layer_has_a_block_per_channel() -> None:
    layer = nn.Conv2d(4, 4, 3, groups=4, bias=False)
    assert as_blocks(layer.weight, form_of(layer)).shape == (4, 1, 9)


def test_the_same_generator_draws_the_same_positions() -> None:
    layer, x = nn.Conv2d(3, 4, 3, padding=1, bias=False), torch.randn(2, 3, 8, 8)
    y = layer(x).detach()
    first, second = (
        sample_rows(form_of(layer), (3, 3), x, [y], positions=5, generator=torch.Generator().manual_seed(1))
        for _ in range(2)
    )
    assert torch.equal(first.inputs, second.inputs)


def test_several_ways_come_side_by_side_in_each_block() -> None:
    layer, x = nn.Conv2d(4, 4, 1, groups=2, bias=False), torch.randn(2, 4, 3, 3)
    y = layer(x).detach()
    rows = sample_rows(form_of(layer), (1, 1), x, [y, -y], positions=9, generator=torch.Generator())
    assert rows.outputs.shape == (18, 2, 4)
    assert torch.equal(rows.outputs[:, :, :2], -rows.outputs[:, :, 2:])
