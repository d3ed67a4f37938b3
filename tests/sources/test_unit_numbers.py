"""Unit numbers of a network that was cut before, in its own numbers and in the dense architecture's, and back."""

from __future__ import annotations

import pytest
import torch
from laws import halves

from deploy_prune.errors import PlanError
from deploy_prune.graph import trace
from deploy_prune.graph.surgery import cut
from deploy_prune.sources.networks import build_network
from deploy_prune.sources.unit_numbers import in_dense_numbers, in_own_numbers, units_left_of_dense
from deploy_prune.values import Network


@pytest.fixture(scope="module")
def dense() -> Network:
    return build_network("resnet20", classes=4, input_shape=(3, 16, 16))


@pytest.fixture(scope="module")
def halved(dense: Network) -> Network:
    """The same with every other unit, 1, 3, 5, ..., of each group: 8 of the 16 of conv1."""
    graph = trace(dense)
    return cut(dense, graph, halves(graph))


def test_plans_translate_between_dense_and_own_unit_numbers(halved: Network) -> None:
    own = {"conv1": (0, 2)}
    in_dense = in_dense_numbers(halved, own)
    assert in_dense["conv1"] == (1, 5)
    assert in_dense["layer1.0.conv1"] == units_left_of_dense(halved)["layer1.0.conv1"]  # whole in its own numbers
    assert in_own_numbers(halved, {"conv1": (1, 5)}) == own


def test_a_unit_that_an_earlier_run_removed_is_refused(halved: Network) -> None:
    with pytest.raises(PlanError, match="lost unit 2"):
        in_own_numbers(halved, {"conv1": (1, 2)})


def test_a_dense_network_has_one_numbering(dense: Network) -> None:
    assert units_left_of_dense(dense) == {}
    assert in_dense_numbers(dense, {"conv1": (1, 5)}) == in_own_numbers(dense, {"conv1": (1, 5)}) == {"conv1": (1, 5)}


def test_the_callers_generator_stays_where_it_was(halved: Network) -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    units_left_of_dense(halved)
    assert torch.equal(torch.rand(1), expected)
