"""Which networks are one and the same: those of equal address, weights and input shapes."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import nn

from deploy_prune.exporting.identity import identify
from deploy_prune.values import Network

NETWORK = Network("tests:net", nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), ((3, 8, 8),), 4)


def test_a_copy_is_the_same_network_whether_it_trains_or_not() -> None:
    twin = replace(NETWORK, module=copy.deepcopy(NETWORK.module).eval())
    assert identify(twin) == identify(NETWORK)
    assert len(identify(NETWORK).digest) == 64


def test_other_weights_statistics_shapes_or_addresses_are_other_networks() -> None:
    weights, statistics = (copy.deepcopy(NETWORK.module) for _ in range(2))
    with torch.no_grad():
        weights[0].weight[0] += 1
    statistics[1].running_mean += 1
    others = (
        replace(NETWORK, module=weights), replace(NETWORK, module=statistics),
        replace(NETWORK, input_shapes=((3, 9, 8),)), replace(NETWORK, address="tests:other"),
    )  # fmt: skip
    assert len({identify(each) for each in (NETWORK, *others)}) == 5


def test_weights_of_any_type_are_looked_at() -> None:
    half, other = (copy.deepcopy(NETWORK.module).to(torch.bfloat16) for _ in range(2))
    with torch.no_grad():
        other[0].bias[3] = 100
    one, two = (identify(replace(NETWORK, module=module)) for module in (half, other))
    assert one != two
