"""What norms feed: the layer before a norm that is its alone, and norms whose scale says nothing."""

from __future__ import annotations

from torch import nn

from deploy_prune.graph.norm_scales import trace_flow


def test_flow_knows_which_norm_follows_which_layer() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 7, 3, bias=False), nn.BatchNorm2d(7), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(7, 4),
    )  # fmt: skip
    assert trace_flow(module.eval(), ((3, 8, 8),)).norm_after == {"0.weight": "1.weight", "3.weight": "4.weight"}


def test_a_norm_is_linear_where_no_non_linearity_follows_before_the_next_weights() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), nn.ReLU6(), nn.Conv2d(6, 4, 1),
        nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4),
    )  # fmt: skip
    assert trace_flow(module.eval(), ((3, 8, 8),)).linear == {"1.weight", "6.weight"}
