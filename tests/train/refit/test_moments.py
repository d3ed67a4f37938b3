"""Moments over batches are those over all rows at once, and say when nothing can be fitted to them."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from deploy_prune.train.refit.forms import Rows, join_rows
from deploy_prune.train.refit.moments import measure_moments


def batches(sizes: list[int], *, blocks: int = 2, inputs: int = 3, shift: float = 0.0) -> list[Rows]:
    generator = torch.Generator().manual_seed(0)
    return [
        Rows(
            torch.randn(size, blocks, inputs, generator=generator) + shift,
            torch.randn(size, blocks, 2, generator=generator) - shift,
        )
        for size in sizes
    ]


@given(st.lists(st.integers(3, 9), min_size=1, max_size=4), st.floats(-100, 100))
def test_they_are_those_of_all_rows(sizes: list[int], shift: float) -> None:
    parts = batches(sizes, shift=shift)
    moments = measure_moments(parts, number=len(parts))
    x, y = (values.double() for values in (join_rows(parts).inputs, join_rows(parts).outputs))
    assert moments.count == len(x)
    assert torch.allclose(moments.input_mean, x.mean(0))
    less, out = x - x.mean(0), y - y.mean(0)
    assert moments.inputs is not None
    assert moments.both is not None
    assert torch.allclose(moments.inputs, torch.einsum("ngi,ngj->gij", less, less) / len(x), atol=1e-9)
    assert torch.allclose(moments.both, torch.einsum("ngo,ngj->goj", out, less) / len(x), atol=1e-9)
    assert torch.allclose(moments.variances, x.var(0, correction=0), atol=1e-9)


def test_uncentred_ones_have_means_of_0() -> None:
    (part,) = batches([8], shift=2.0)
    moments = measure_moments([part], number=1, centred=False)
    x = part.inputs.double()
    assert float(moments.input_mean.abs().max()) == float(moments.output_mean.abs().max()) == 0.0
    assert moments.inputs is not None
    assert torch.allclose(moments.inputs, torch.einsum("ngi,ngj->gij", x, x) / 8)


def test_fewer_rows_than_inputs_are_kept_as_rows() -> None:
    """No matrix (inputs, inputs) is made: that of VGG's first linear layer would have 5 GB."""
    moments = measure_moments(batches([4, 4], blocks=1, inputs=25_088), number=2)
    assert moments.inputs is None
    assert moments.rows is not None
    assert moments.rows.inputs.shape == (8, 1, 25_088)


def test_what_is_not_finite_or_constant_is_named() -> None:
    (part,) = batches([8])
    broken = Rows(part.inputs.clone(), part.outputs.clone())
    broken.outputs[3, 1, 0] = torch.nan
    assert "not finite" in measure_moments([broken], number=1).trouble
    same = Rows(torch.full_like(part.inputs, 0.1), part.outputs)
    assert "constant" in measure_moments([same], number=1).trouble
    assert measure_moments([part], number=1).trouble == ""
