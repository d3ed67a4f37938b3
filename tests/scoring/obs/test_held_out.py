"""Curves on images that decided nothing: fewer rows than inputs make no unit cheap that others need."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from deploy_prune.scoring.obs.curves import score_group
from deploy_prune.scoring.obs.elimination import Reading, eliminate
from deploy_prune.scoring.obs.held_out import RIDGES, choose_ridge, measure_loss, measure_losses

UNITS, OUTPUTS = 12, 4


def centred(rows: Tensor) -> Tensor:
    return (rows.T @ rows / len(rows))[None]


def reading(rows: int, *, seed: int = 0, units: int = UNITS, mixing: float = 0.0) -> Reading:
    """A dense layer of independent inputs, or of inputs that share a part; many rows judge."""
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int) -> Tensor:
        own = torch.randn(count, units, generator=generator, dtype=torch.float64)
        return own + mixing * torch.randn(count, 1, generator=generator, dtype=torch.float64)

    weight = torch.randn(1, OUTPUTS, units, generator=generator, dtype=torch.float64)
    columns = torch.arange(units)[:, None]
    variance = float(weight.square().sum())
    return Reading(centred(draw(rows)), None, weight, columns, variance, centred(draw(20_000)))


@given(turn=st.integers(1, UNITS - 1), ridge=st.sampled_from(RIDGES), seed=st.integers(0, 50))
def test_a_loss_is_that_of_the_solved_weights_on_the_held_out_rows(turn: int, ridge: float, seed: int) -> None:
    each = reading(500, seed=seed, mixing=1.0)
    assert each.products is not None and each.judged is not None
    kept, gone = list(range(turn, UNITS)), list(range(turn))
    c, h, weight = each.products[0].numpy(), each.judged[0].numpy(), each.weight[0].numpy()
    system = c[np.ix_(kept, kept)] + ridge * c.diagonal().mean() * np.eye(len(kept))
    change = np.zeros_like(weight)
    change[:, gone] = -weight[:, gone]
    change[:, kept] = weight[:, gone] @ c[np.ix_(gone, kept)] @ np.linalg.inv(system)
    wanted = float((change @ h * change).sum()) / each.variance
    assert measure_loss(each, torch.tensor(gone), ridge) == pytest.approx(wanted)


def test_more_inputs_than_rows_are_not_free_to_go() -> None:
    """A layer of twelve inputs loses next to nothing without six of them on the six rows that it has seen."""
    few = reading(6)
    order, believed = eliminate([few], [RIDGES[0]])
    honest = measure_losses(order, [few], [RIDGES[0]])
    assert believed[:6].sum() < 0.1
    assert honest[:6].sum() > 0.3


def test_few_rows_are_met_with_a_larger_ridge() -> None:
    assert choose_ridge(reading(8)) > choose_ridge(reading(20_000, mixing=1.0))


def test_losses_sum_up_to_what_is_lost_without_any_unit() -> None:
    each = reading(500)
    order, _ = eliminate([each], [0.01])
    assert each.judged is not None
    whole = float(((each.weight @ each.judged) * each.weight).sum()) / each.variance
    losses = measure_losses(order, [each], [0.01])
    assert losses.sum() == pytest.approx(whole)
    assert (losses >= 0).all() and losses.shape == (UNITS,)


def test_a_group_that_several_layers_read_loses_in_all_of_them() -> None:
    one, two = reading(500), reading(500, seed=1)
    order, _ = eliminate([one, two], [0.01, 0.1])
    apart = measure_losses(order, [one], [0.01]) + measure_losses(order, [two], [0.1])
    assert measure_losses(order, [one, two], [0.01, 0.1]) == pytest.approx(apart)


def test_without_held_out_images_the_elimination_itself_says_what_is_lost() -> None:
    each = reading(500)
    blind = Reading(each.products, None, each.weight, each.columns, each.variance)
    assert choose_ridge(blind) == RIDGES[0]
    order, losses = eliminate([blind], [RIDGES[0]])
    scores = score_group([blind])
    assert scores.sum() == pytest.approx(losses.sum(), rel=1e-6)
    assert list(np.argsort(scores, kind="stable")) == list(order)
