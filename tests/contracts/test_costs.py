"""What every cost promises: one number per plan, for thousands at once, that never falls when a group grows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from latencies import made_up
from nets import NETS

from deploy_prune import plugins
from deploy_prune.budget.costs import CostModel
from deploy_prune.budget.latency.store import open_store
from deploy_prune.graph import trace
from deploy_prune.values import ChannelGraph

COSTS = plugins.list_names("costs")
MEASURED = {"latency"}
"""One unit more may cost less: a kernel that fills its tiles is faster than one that does not."""
TOO_TINY = {"transposed_grouped", "tied_convs", "two_inputs"}
"""They have fewer plans than a latency model takes samples."""
STATIC = [name for name in COSTS if name not in MEASURED]
NAMES = ["plain", "dense_block", "transposed", "transposed_grouped", "squeeze_excite", "tied_convs", "two_inputs"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of all networks on a phone, made up: with a stair of 8 channels."""
    path = tmp_path_factory.mktemp("store") / "latency.sqlite"
    with open_store(path) as found:
        for name in set(NAMES) - TOO_TINY:
            table = made_up(trace(NETS[name]()), noise=0.0)
            found.begin(table)
            found.add(table, *table.samples)
    return path


@pytest.fixture
def options(cost: str, store: Path) -> dict[str, object]:
    """What a cost needs to be told."""
    return {"device": "phone", "store": store} if cost in MEASURED else {}


def of(cost: str, name: str, options: dict[str, object]) -> tuple[CostModel, ChannelGraph]:
    graph = trace(NETS[name]())
    return plugins.build("costs", cost, options).model(graph), graph


@pytest.mark.parametrize(
    ("cost", "name"), [(cost, name) for cost in COSTS for name in NAMES if cost in STATIC or name not in TOO_TINY]
)
def test_many_plans_at_once_cost_what_each_costs_alone(cost: str, name: str, options: dict[str, object]) -> None:
    model, graph = of(cost, name, options)
    draw = np.random.default_rng(0)
    widths = draw.integers(1, [group.width + 1 for group in graph.free], size=(2, 50, len(graph.free)))
    together = model(widths)
    assert together.shape == (2, 50)
    assert float(model(widths[1, 3])) == together[1, 3]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cost", STATIC)
def test_one_unit_more_never_costs_less(cost: str, name: str, options: dict[str, object]) -> None:
    model, graph = of(cost, name, options)
    widths = np.array([max(1, group.width // 2) for group in graph.free])
    steps = widths + np.eye(widths.size, dtype=int)
    assert (model(steps) >= model(widths)).all()
    assert (model(steps) > model(widths)).any()


@pytest.mark.parametrize("cost", COSTS)
def test_a_cost_has_a_unit_and_is_positive(cost: str, options: dict[str, object]) -> None:
    model, graph = of(cost, "plain", options)
    assert plugins.build("costs", cost).unit
    assert float(model(np.array([1 for _ in graph.free]))) > 0
