"""What every pruning method promises: a score per unit of every free group, or the units at given widths; no dice."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from nets import NETS
from studies import FAST, stack
from studies import study as of_network

from deploy_prune import plugins
from deploy_prune.graph.surgery import check
from deploy_prune.scoring.methods import Scorer, Selector
from deploy_prune.scoring.study import Study
from deploy_prune.values import Selection

SCORERS = [name for name in plugins.list_names("methods") if isinstance(plugins.build("methods", name), Scorer)]
SELECTORS = [name for name in plugins.list_names("methods") if isinstance(plugins.build("methods", name), Selector)]
NAMES = ["plain", "transposed", "depthwise_multiplier", "dense_block", "tied_convs", "layer_scale", "grouped_whole"]


ONLY = {"slimming": ["stack"], "legr": ["stack", "plain", "dense_block"]}
"""Networks with batch norms, which slimming scores; with several groups, or a search finds but one plan."""


def study(name: str, seed: int = 0) -> Study:
    return of_network(stack() if name == "stack" else NETS[name](), seed=seed)


def score(method: str, of: Study) -> dict[str, np.ndarray]:
    plugin: Any = plugins.build("methods", method, FAST.get(method))
    return dict(plugin.score(of).by_group)


@pytest.mark.parametrize("method", plugins.list_names("methods"))
def test_a_method_scores_or_selects(method: str) -> None:
    plugin = plugins.build("methods", method)
    assert isinstance(plugin, Scorer | Selector)
    assert dataclasses.is_dataclass(plugin)


@pytest.mark.parametrize(
    ("method", "name"),
    [(method, name) for method in SCORERS for name in ONLY.get(method, NAMES)],
)
def test_every_unit_of_every_free_group_has_a_finite_score(method: str, name: str) -> None:
    of = study(name)
    scores = score(method, of)
    assert {each: values.shape for each, values in scores.items()} == {
        group.name: (group.width,) for group in of.graph.free
    }
    assert all(np.isfinite(values).all() for values in scores.values())


@pytest.mark.parametrize("method", SCORERS)
def test_the_same_seed_gives_the_same_scores(method: str) -> None:
    one, other = score(method, study("stack", 7)), score(method, study("stack", 7))
    assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("method", SCORERS)
def test_scoring_changes_neither_the_network_nor_the_generators(method: str) -> None:
    of = study("stack")
    before = {name: tensor.clone() for name, tensor in of.network.module.state_dict().items()}
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    score(method, of)
    after = of.network.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002


def select(method: str, of: Study) -> Selection:
    plugin: Any = plugins.build("methods", method, FAST.get(method))
    found: Selection = plugin.select(of, widths(of))
    return found


def widths(of: Study) -> dict[str, int]:
    return {group.name: group.width // 2 + 1 for group in of.graph.free}


@pytest.mark.parametrize("method", SELECTORS)
def test_every_group_keeps_its_width_at_the_most(method: str) -> None:
    of = study("stack")
    found = select(method, of)
    check(of.graph, found.keep)
    assert {name: len(units) for name, units in found.keep.items()}.keys() == widths(of).keys()
    assert all(len(units) <= widths(of)[name] for name, units in found.keep.items())


@pytest.mark.parametrize("method", SELECTORS)
def test_weights_and_masks_are_in_the_dense_shapes_and_agree(method: str) -> None:
    of = study("stack")
    found, state = select(method, of), of.network.module.state_dict()
    assert found.weights
    assert all(value.shape == state[name].shape for name, value in found.weights.items())
    for name, mask in found.masks.items():
        assert mask.dtype == torch.bool
        assert mask.shape == state[name].shape
        assert found.weights[name][~mask].abs().max() == 0


@pytest.mark.heavy
@pytest.mark.parametrize("method", SELECTORS)
def test_the_same_seed_selects_the_same(method: str) -> None:
    one, other = select(method, study("stack", 7)), select(method, study("stack", 7))
    assert one.keep == other.keep
    assert one.weights
    assert other.weights
    assert all(torch.equal(value, other.weights[name]) for name, value in one.weights.items())


@pytest.mark.parametrize("method", SELECTORS)
@pytest.mark.heavy
def test_selecting_changes_neither_the_network_nor_the_generators(method: str) -> None:
    of = study("stack")
    before = {name: tensor.clone() for name, tensor in of.network.module.state_dict().items()}
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    select(method, of)
    after = of.network.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002
