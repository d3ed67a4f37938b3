"""Which layers are mapped: dense ones that read units; what a map then does is `train/refit/test_dense_map.py`."""

from __future__ import annotations

import torch
from torch import nn

from deploy_prune.graph import trace
from deploy_prune.scoring.obs.maps import measure_maps
from deploy_prune.scoring.obs.readings import Sampling
from deploy_prune.values import Network


def test_dense_layers_that_read_units_are_mapped_and_no_others() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 1, groups=2), nn.Conv2d(8, 4, 1, bias=False),
        nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1),
    )  # fmt: skip
    network = Network("mixed", module.eval(), ((3, 6, 6),))
    maps = measure_maps(network, trace(network), torch.randn(40, 3, 6, 6), Sampling())
    takes = {each.weight: each.constant.name if each.constant else None for each in maps}
    assert takes == {"3.weight": "4.running_mean", "6.weight": "6.bias"}


def test_inputs_that_are_constant_map_nothing() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    with torch.no_grad():
        module[0].weight.zero_()
    network = Network("constant", module.eval(), ((3, 6, 6),))
    assert measure_maps(network, trace(network), torch.randn(40, 3, 6, 6), Sampling()) == ()
