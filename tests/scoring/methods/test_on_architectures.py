"""LeGR and slimming on real architectures: scores of every kind of network, cut under budgets of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from studies import FAST, noise

from deploy_prune import plugins
from deploy_prune.budget.allocate import allocate
from deploy_prune.budget.widths import Limits
from deploy_prune.errors import ConfigError
from deploy_prune.graph.soundness import find, lock, settle
from deploy_prune.graph.surgery import cut
from deploy_prune.scoring.study import Study
from deploy_prune.scoring.top_units import best_units
from deploy_prune.sources.networks import build_network
from deploy_prune.values import Network, Scores

NETWORKS = {
    "mobilenet_v1": "mobilenet_v1", "mobilenet_v2": "torchvision:mobilenet_v2", "resnet20": "resnet20",
    "resnet18": "torchvision:resnet18", "vgg16_bn": "vgg16_bn", "densenet": "torchvision:densenet121",
    "efficientnet_lite0": "timm:efficientnet_lite0",
}  # fmt: skip
CASES = [
    pytest.param(method, name, scope, cost, marks=pytest.mark.heavy if name == "mobilenet_v2" else pytest.mark.slow)
    for method in ("legr", "slimming")
    for name in NETWORKS
    for scope, cost in (("full", "macs"), ("inner", "params"))
]
LINEAR_STREAMS = {"mobilenet_v2", "efficientnet_lite0"}
"""Networks whose residual streams slimming has no say in."""


def built(name: str) -> Network:
    network = build_network(NETWORKS[name], classes=4, input_shape=(3, 32, 32))
    network.module.eval()
    return network


@pytest.mark.parametrize(("method", "name", "scope", "cost"), CASES)
def test_it_scores_and_the_plan_meets_the_budget(method: str, name: str, scope: str, cost: str) -> None:
    network = built(name)
    graph = settle(network)
    price = plugins.build("costs", cost).model(graph)
    dense = np.array([group.width for group in graph.free])
    limits = Limits(scope=scope)
    limit = 0.75 * float(price(dense))

    def plan(scores: Scores) -> dict[str, tuple[int, ...]]:
        return dict(best_units(scores, allocate(graph, scores, price, limit, limits)))

    study = Study(network, graph, noise(network), 0, plan=plan, scope=scope)
    plugin: Any = plugins.build("methods", method, FAST[method])
    if method == "slimming" and scope == "full" and name in LINEAR_STREAMS:
        with pytest.raises(ConfigError, match="no say in the residual stream"):
            plugin.score(study)
        return
    scores = plugin.score(study)
    whole = {group.name: "not scored" for group in graph.free if group.name not in scores.by_group}
    free = lock(graph, whole)
    cost_of_free = plugins.build("costs", cost).model(free)
    keep = best_units(scores, allocate(free, scores, cost_of_free, limit, limits))
    assert not find(network, free, keep)
    widths = np.array([len(keep.get(group.name, range(group.width))) for group in graph.free])
    assert float(price(widths)) <= limit
    small = cut(network, free, keep)
    assert sum(each.numel() for each in small.module.parameters()) < sum(
        each.numel() for each in network.module.parameters()
    )
