"""Sensitivity: each group alone, at each width, against the whole network."""

from __future__ import annotations

import copy
import dataclasses

import pytest
from studies import stack, stripes, trained

from deploy_prune import plugins
from deploy_prune.errors import ConfigError, Diverged
from deploy_prune.graph import trace
from deploy_prune.graph.filter_norms import filter_norms
from deploy_prune.scoring.sensitivity import sensitivity
from deploy_prune.train.fitness import Exam, judge_candidate, prepare_examiner
from deploy_prune.values import Network

DATA = stripes()
EXAM = Exam(images=80, norm_images=60)


@pytest.fixture(scope="module")
def network() -> Network:
    return trained(stack(), DATA)


@pytest.mark.heavy
def test_every_group_is_cut_alone_and_the_rest_is_whole(network: Network) -> None:
    graph = trace(network)
    found = sensitivity(network, DATA, plugins.build("workers", "local", {"processes": 2}), exam=EXAM)
    assert [(curve.name, curve.width) for curve in found.curves] == [(group.name, group.width) for group in graph.free]
    assert [[each.kept for each in curve.points] for curve in found.curves] == [
        [9, 6, 3, 2],
        [12, 8, 4, 2],
        [15, 10, 5, 2],
    ]
    prepared = prepare_examiner(network, graph, DATA, EXAM)
    assert judge_candidate(prepared, {}).value == found.value
    norms = filter_norms(network.module, graph, power=2)
    group, points = graph.free[1].name, found.curves[1].points
    largest = tuple(sorted(norms[group].argsort()[::-1][:4].tolist()))
    assert judge_candidate(prepared, {group: largest}).value == points[2].value


@pytest.mark.heavy
def test_a_network_that_gives_nan_has_no_sensitivity(network: Network) -> None:
    lost = dataclasses.replace(network, module=copy.deepcopy(network.module))
    for parameter in lost.module.parameters():
        parameter.data.mul_(1e30)
    with pytest.raises(Diverged, match="gives NaN or infinity as it is"):
        sensitivity(lost, DATA, plugins.build("workers", "local"), shares=(0.5,), exam=Exam(images=8, norm_images=0))


@pytest.mark.parametrize("shares", [(), (0.5, 1.0), (0.0,)])
def test_shares_outside_of_0_to_1_are_refused(network: Network, shares: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="not between 0 and 1"):
        sensitivity(network, DATA, plugins.build("workers", "local"), shares=shares)
