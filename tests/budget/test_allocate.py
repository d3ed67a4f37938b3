"""Laws of the allocation: under budget, floors and multiples kept, as much kept as the budget allows."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nets import NETS

from deploy_prune import plugins
from deploy_prune.budget.allocate import allocate, check_reachable
from deploy_prune.budget.costs import CostModel
from deploy_prune.budget.widths import Limits, ladder
from deploy_prune.errors import BudgetError
from deploy_prune.graph import trace
from deploy_prune.scoring.top_units import best_units
from deploy_prune.sources.networks import build_network
from deploy_prune.values import ChannelGraph, Group, Scores, Widths
from examples import examples

USUAL = examples(60)
NAMES = st.sampled_from(["resnet20", "mobilenet_v2"])
COSTS = st.sampled_from(["macs", "params", "size", "channels"])
SHARES = st.floats(0.0, 1.0)
SEEDS = st.integers(0, 1000)


@cache
def graph_of(name: str) -> ChannelGraph:
    return trace(build_network(name, classes=10, input_shape=(3, 32, 32)))


def drawn(graph: ChannelGraph, seed: int) -> Scores:
    draw = np.random.default_rng(seed)
    return Scores({group.name: draw.random(group.width) for group in graph.free})


def total(graph: ChannelGraph, widths: Widths) -> np.ndarray:
    return np.array([widths[group.name] for group in graph.free])


def between(graph: ChannelGraph, cost: CostModel, limits: Limits, share: float) -> float:
    """A limit somewhere from the smallest network to just below the dense one."""
    dense = float(cost(np.array([group.width for group in graph.free])))
    least = float(cost(np.array([ladder(group, limits).steps[0] for group in graph.free])))
    return least + share * 0.999 * (dense - least)


def test_the_worked_example_goes_as_its_picture_says() -> None:
    groups = (Group("a", 4, 1, ()), Group("b", 3, 1, ()))
    graph = ChannelGraph(groups, (), (), {}, frozenset())
    scores = Scores({"a": np.array([0.9, 0.1, 0.5, 0.7]), "b": np.array([0.2, 0.6, 0.8])})

    def cost(widths: np.ndarray) -> np.ndarray:
        return np.asarray(widths @ np.array([1, 2]))

    assert [cost(np.array(plan)) for plan in ([4, 3], [3, 3], [3, 2])] == [10, 9, 7]
    assert allocate(graph, scores, cost, 7.0, Limits()) == {"a": 3, "b": 2}


def test_a_budget_that_prunes_nothing_is_refused_in_its_unit() -> None:
    graph = ChannelGraph((Group("a", 574, 1, ()),), (), (), {}, frozenset())
    message = r"the budget, 6\.80 ms, is not below the dense network's 5\.74 ms: nothing to prune"
    with pytest.raises(BudgetError, match=message):
        check_reachable(graph, lambda widths: 0.01 * widths.sum(axis=-1), 6.8, Limits(), unit="ms")


@USUAL
@given(NAMES, COSTS, SHARES, SEEDS, st.sampled_from([1, 4, 8, 16]), st.sampled_from([0.0, 0.1, 0.3]))
def test_an_allocation_is_within_budget_floors_and_multiples(
    name: str, cost_name: str, share: float, seed: int, multiple: int, floor: float
) -> None:
    graph, limits = graph_of(name), Limits(floor=floor, multiple=multiple)
    cost = plugins.build("costs", cost_name).model(graph)
    limit = between(graph, cost, limits, share)
    widths = allocate(graph, drawn(graph, seed), cost, limit, limits)
    assert float(cost(total(graph, widths))) <= limit
    for group in graph.free:
        width = widths[group.name]
        assert min(group.width, max(2, math.ceil(floor * group.width))) <= width <= group.width
        assert width == group.width or width * group.channels_per_unit % multiple == 0


@USUAL
@given(NAMES, COSTS, SHARES, SHARES, SEEDS)
def test_a_bigger_budget_never_keeps_less(name: str, cost_name: str, one: float, other: float, seed: int) -> None:
    graph, limits = graph_of(name), Limits()
    cost, scores = plugins.build("costs", cost_name).model(graph), drawn(graph, seed)
    kept = []
    for share in sorted((one, other)):
        widths = allocate(graph, scores, cost, between(graph, cost, limits, share), limits)
        kept.append(sum(np.sort(scores.by_group[each])[-width:].sum() for each, width in widths.items()))
    assert kept[0] <= kept[1] + 1e-9


@USUAL
@given(NAMES, COSTS, SHARES, SEEDS)
def test_the_threshold_is_exact_to_one_unit(name: str, cost_name: str, share: float, seed: int) -> None:
    """The best-scored unit of those that are removed could not have stayed."""
    graph, limits = graph_of(name), Limits()
    cost, scores = plugins.build("costs", cost_name).model(graph), drawn(graph, seed)
    limit = between(graph, cost, limits, share)
    widths = allocate(graph, scores, cost, limit, limits)
    removed = {each: np.sort(scores.by_group[each])[: -widths[each]] for each in widths}
    best = max((each for each in removed if removed[each].size), key=lambda each: removed[each][-1])
    assert float(cost(total(graph, {**widths, best: widths[best] + 1}))) > limit


@USUAL
@given(NAMES, SHARES, SEEDS, st.sampled_from([8, 16]))
def test_with_multiples_no_single_step_that_fits_is_left_out(name: str, share: float, seed: int, multiple: int) -> None:
    graph, limits = graph_of(name), Limits(multiple=multiple)
    cost = plugins.build("costs", "macs").model(graph)
    limit = between(graph, cost, limits, share)
    widths = allocate(graph, drawn(graph, seed), cost, limit, limits)
    for group in graph.free:
        larger = [int(step) for step in ladder(group, limits).steps if step > widths[group.name]]
        if larger:
            assert float(cost(total(graph, {**widths, group.name: larger[0]}))) > limit


def test_the_lowest_scores_go_first() -> None:
    """plain: conv a (6) -> conv b (8). Channels = 14; 0.5 of them is 7: the seven best scores stay."""
    graph = trace(NETS["plain"]())
    scores = Scores({"a": np.array([9, 8, 7, 1, 2, 3.0]), "b": np.array([10, 11, 12, 6, 0.1, 0.2, 0.3, 0.4])})
    cost = plugins.build("costs", "channels").model(graph)
    widths = allocate(graph, scores, cost, 7, Limits())
    assert widths == {"a": 3, "b": 4}
    assert best_units(scores, widths) == {"a": (0, 1, 2), "b": (0, 1, 2, 3)}


def test_only_the_order_of_the_scores_counts() -> None:
    graph = graph_of("mobilenet_v2")
    cost, scores = plugins.build("costs", "macs").model(graph), drawn(graph, 3)
    limit = between(graph, cost, Limits(), 0.4)
    stretched = Scores({name: np.exp(5 * values) for name, values in scores.by_group.items()})
    assert allocate(graph, scores, cost, limit, Limits()) == allocate(graph, stretched, cost, limit, Limits())


def test_an_impossible_budget_names_the_reachable_minimum() -> None:
    graph = graph_of("resnet20")
    cost = plugins.build("costs", "macs").model(graph)
    least = float(cost(np.array([ladder(group, Limits()).steps[0] for group in graph.free])))
    with pytest.raises(BudgetError, match=re.escape(f"{least:,.0f}")) as caught:
        check_reachable(graph, cost, least - 1, Limits())
    assert "floor" in caught.value.hint
    check_reachable(graph, cost, least, Limits())  # the minimum itself is possible


def test_a_budget_above_the_dense_cost_is_refused() -> None:
    graph = graph_of("resnet20")
    cost = plugins.build("costs", "macs").model(graph)
    with pytest.raises(BudgetError, match="nothing to prune"):
        check_reachable(graph, cost, 1e12, Limits())


def test_inner_scope_leaves_residual_groups_whole() -> None:
    graph = graph_of("resnet20")
    cost = plugins.build("costs", "macs").model(graph)
    limits = Limits(scope="inner")
    widths = allocate(graph, drawn(graph, 0), cost, between(graph, cost, limits, 0.5), limits)
    assert all(widths[group.name] == group.width for group in graph.free if group.residual)
    assert any(widths[group.name] < group.width for group in graph.free if not group.residual)


@pytest.mark.parametrize(("name", "groups", "channels"), [("resnet20", 9, 336), ("resnet56", 27, 1008)])
def test_the_inner_groups_of_cifar_resnets(name: str, groups: int, channels: int) -> None:
    inner = [group for group in graph_of(name).free if not group.residual]
    assert (len(inner), sum(group.width for group in inner)) == (groups, channels)


@pytest.mark.parametrize(("name", "macs"), [("resnet20", 40.55e6), ("resnet56", 125.49e6)])
def test_the_macs_of_cifar_resnets_are_the_published_ones(name: str, macs: float) -> None:
    graph = graph_of(name)
    counted = float(plugins.build("costs", "macs").model(graph)(np.array([group.width for group in graph.free])))
    assert counted == pytest.approx(macs, abs=0.005e6)


@dataclass(frozen=True)
class Plain:
    """Milliseconds of layers that are four times as slow at widths beside multiples of 8."""

    groups: int

    def __call__(self, widths: np.ndarray) -> np.ndarray:
        slower = np.where(np.asarray(widths) % 8, 4.0, 1.0)
        return np.asarray((slower * (np.asarray(widths) + 1.0)).sum(axis=-1))


@dataclass(frozen=True)
class Cliff(Plain):
    """The same, with its stairs known."""

    def along(self, widths: np.ndarray, group: int, options: np.ndarray) -> np.ndarray:
        plans = np.repeat(np.asarray(widths)[None], len(options), axis=0)
        plans[:, group] = options
        return self(plans)

    @property
    def neighbours(self) -> tuple[frozenset[int], ...]:
        return tuple(frozenset([place]) for place in range(self.groups))


@examples(20)
@given(seed=SEEDS, share=st.floats(0.3, 0.9))
def test_beside_a_cliff_as_much_is_kept_as_in_multiples(seed: int, share: float) -> None:
    """The rank cut at free widths lands below every cliff, and has to go far too deep."""
    graph = graph_of("mobilenet_v2")
    scores, groups = drawn(graph, seed), len(graph.free)
    limit = share * float(Plain(groups)(np.array([group.width for group in graph.free])))
    kept = allocate(graph, scores, Cliff(groups), limit, Limits())
    free = allocate(graph, scores, Plain(groups), limit, Limits())
    coarse = allocate(graph, scores, Plain(groups), limit, Limits(multiple=8))
    assert sum(free.values()) < 0.7 * sum(coarse.values())
    assert sum(kept.values()) >= 0.95 * sum(coarse.values())
