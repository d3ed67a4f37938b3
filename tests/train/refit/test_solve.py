"""Least squares towards the old weights: exact where an exact answer exists, and the same by whichever road."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from deploy_prune.train.refit.forms import Rows
from deploy_prune.train.refit.moments import Moments, measure_moments
from deploy_prune.train.refit.solve import Solution, estimate_condition, solve


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def fitted(x: Tensor, weight: Tensor, offset: float) -> Rows:
    """Rows of a layer that has this weight, (blocks, outputs, inputs)."""
    return Rows(x, torch.einsum("ngk,gok->ngo", x, weight) + offset)


def primal(rows: Rows, *, centred: bool = True) -> Moments:
    """The moments as products, however few rows there are."""
    few = measure_moments([rows], number=10_000, centred=centred)
    assert few.inputs is not None
    return few


def only(solutions: tuple[Solution, ...]) -> Solution:
    (solution,) = solutions
    return solution


@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 4), st.integers(0, 99))
def test_without_a_ridge_the_true_weight_and_offset_come_out(blocks: int, inputs: int, outputs: int, seed: int) -> None:
    weight = drawn(blocks, outputs, inputs, seed=seed)
    rows = fitted(drawn(50, blocks, inputs, seed=seed + 100) + 3, weight, 0.5)
    solution = only(solve(primal(rows), torch.zeros_like(weight), (1e-12,)))
    assert torch.allclose(solution.weight, weight, atol=1e-6)
    assert torch.allclose(solution.offset, torch.full((blocks, outputs), 0.5, dtype=torch.float64), atol=1e-6)


@given(st.integers(1, 2), st.integers(2, 12), st.integers(2, 9), st.sampled_from([0.01, 0.3, 1.0]), st.booleans())
def test_the_dual_form_gives_the_same(blocks: int, inputs: int, count: int, ridge: float, centred: bool) -> None:
    rows = Rows(drawn(count, blocks, inputs, seed=1) + 1, drawn(count, blocks, 3, seed=2))
    old = drawn(blocks, 3, inputs, seed=3)
    small = primal(rows, centred=centred)
    less = Rows(rows.inputs - small.input_mean, rows.outputs - small.output_mean)
    dual = dataclasses.replace(small, inputs=None, both=None, rows=less)
    support = drawn(blocks, 3, inputs, seed=4) > 0
    for mask in (None, support):
        masked = old if mask is None else old * mask
        one, two = (only(solve(moments, masked, (ridge,), support=mask)) for moments in (small, dual))
        assert torch.allclose(one.weight, two.weight, atol=1e-8)
        assert torch.allclose(one.offset, two.offset, atol=1e-8)


def test_by_hand() -> None:
    """Inputs -1, 1 (variance 1) and outputs 3 x: (3 + 0.5 x 1) / (1 + 0.5) with an old weight of 1."""
    x = torch.tensor([-1.0, 1.0], dtype=torch.float64).reshape(2, 1, 1)
    solution = only(solve(primal(Rows(x, 3 * x)), torch.ones(1, 1, 1), (0.5,)))
    assert float(solution.weight) == pytest.approx(3.5 / 1.5)
    assert estimate_condition(primal(Rows(x, 3 * x)), 0.5) == pytest.approx(1.0)


def test_weights_that_fit_stay_exactly() -> None:
    """Whatever the ridge; rounding is below what float32 holds."""
    weight = drawn(1, 4, 6, seed=0).float().double()
    rows = fitted(drawn(40, 1, 6, seed=1), weight, 0.0)
    for solution in solve(primal(rows), weight, (0.01, 1.0)):
        assert torch.allclose(solution.weight, weight, rtol=0, atol=1e-14)


def test_masked_weights_stay_0_and_the_rest_is_the_best_of_its_support() -> None:
    mask = torch.tensor([[[1, 0, 1, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]], dtype=torch.bool)
    true = drawn(1, 4, 4, seed=5) * mask
    solution = only(
        solve(primal(fitted(drawn(30, 1, 4, seed=6), true, 0.0)), torch.zeros_like(true), (1e-12,), support=mask)
    )
    assert torch.equal(solution.weight != 0, mask)
    assert torch.allclose(solution.weight, true, atol=1e-6)


def test_the_condition_is_that_of_the_system() -> None:
    x = drawn(400, 1, 5, seed=7) * torch.tensor([1.0, 2.0, 3.0, 4.0, 20.0])
    moments = primal(Rows(x, x[..., :2]))
    assert moments.inputs is not None
    system = moments.inputs[0] + 0.1 * moments.variances.mean() * torch.eye(5)
    assert estimate_condition(moments, 0.1) == pytest.approx(float(torch.linalg.cond(system)), rel=0.05)


def test_a_dead_channel_of_a_depthwise_layer_keeps_its_weight() -> None:
    x = drawn(30, 2, 3, seed=9)
    x[:, 1] = 0.0
    old = drawn(2, 1, 3, seed=10)
    solution = only(solve(primal(Rows(x, drawn(30, 2, 1, seed=11))), old, (0.1,)))
    assert torch.equal(solution.weight[1], old[1])


def test_a_system_that_is_not_finite_gives_nothing() -> None:
    x = drawn(30, 1, 3, seed=12)
    x[0, 0, 0] = torch.inf
    assert solve(primal(Rows(x, x)), drawn(1, 3, 3, seed=13), (0.1,)) == ()
