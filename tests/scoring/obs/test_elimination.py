"""Eliminating units costs what least squares says, whatever the order, the columns and the number of layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deploy_prune.scoring.obs.elimination import Reading, eliminate
from examples import examples

USUAL = examples(40)


def make_reading(seed, *, units=6, columns=1, outputs=3, blocks=1, others=2, variance=1.0):
    """A layer that reads these units and some other inputs, all correlated."""
    generator = torch.Generator().manual_seed(seed)
    inputs = units * columns + others
    rows = torch.randn((blocks, 200, inputs), generator=generator, dtype=torch.float64)
    rows = rows @ torch.randn((blocks, inputs, inputs), generator=generator, dtype=torch.float64)
    products = rows.transpose(1, 2) @ rows / 200
    weight = torch.randn((blocks, outputs, inputs), generator=generator, dtype=torch.float64)
    places = torch.randperm(inputs, generator=generator)[: units * columns].reshape(units, columns)
    return Reading(products, None, weight, places, variance)


def lose(reading, gone, ridge):
    """What taking these units away costs when all that is left is refitted at once."""
    total = 0.0
    for products, weight in zip(reading.products, reading.weight, strict=True):
        system = products + ridge * reading.products.diagonal(dim1=1, dim2=2).mean() * torch.eye(len(products))
        away = reading.columns[gone].reshape(-1)
        own = torch.linalg.inv(system)[away][:, away]
        part = weight[:, away]
        total += float((part @ torch.linalg.inv(own) * part).sum())
    return total / reading.variance


@USUAL
@given(st.integers(0, 10_000), st.sampled_from([1, 4]), st.sampled_from([1, 2]), st.sampled_from([0.01, 0.3]))
def test_the_losses_along_the_way_add_up_to_what_all_that_went_costs_at_once(seed, columns, blocks, ridge):
    readings = [
        make_reading(seed, columns=columns, blocks=blocks, variance=2.0),
        make_reading(seed + 1, outputs=5, others=0),
    ]
    order, losses = eliminate(readings, [ridge] * len(readings))
    assert sorted(order.tolist()) == list(range(6))
    for count in (1, 3, 5):
        at_once = sum(lose(each, order[:count], ridge) for each in readings)
        assert losses[:count].sum() == pytest.approx(at_once, rel=1e-6)


def test_the_first_to_go_is_the_cheapest():
    reading = make_reading(3)
    order, losses = eliminate([reading], [0.01])
    alone = [lose(reading, np.array([unit]), 0.01) for unit in range(6)]
    assert order[0] == int(np.argmin(alone))
    assert losses[0] == pytest.approx(min(alone))


def test_a_unit_that_others_can_stand_for_goes_first_at_next_to_no_cost():
    reading = make_reading(0, units=12, others=0)
    rows = torch.randn((1, 500, 12), dtype=torch.float64)
    rows[..., 7] = rows[..., 2] - 2 * rows[..., 5]
    reading = Reading(rows.transpose(1, 2) @ rows / 500, None, reading.weight, torch.arange(12)[:, None], 1.0)
    order, losses = eliminate([reading], [1e-6])
    assert order[0] in (2, 5, 7)
    assert losses[0] < 1e-3 * losses[1]


def test_many_units_are_eliminated_as_few_are():
    """The matrices are made smaller on the way, which changes nothing."""
    reading = make_reading(5, units=60, others=9)
    order, losses = eliminate([reading], [0.01])
    assert losses.sum() == pytest.approx(lose(reading, order, 0.01), rel=1e-6)


def test_units_of_a_layer_with_too_many_inputs_count_as_independent():
    whole = make_reading(1, columns=2, others=0)
    own = torch.stack([whole.products[:, columns][:, :, columns] for columns in whole.columns])
    order, losses = eliminate([Reading(None, own, whole.weight, whole.columns, 1.0)], [1e-9])
    spans = whole.weight[:, :, whole.columns].permute(2, 0, 1, 3)
    alone = (spans @ own * spans).sum((1, 2, 3)).numpy()
    assert losses == pytest.approx(np.sort(alone), rel=1e-6)
    assert order.tolist() == np.argsort(alone).tolist()
