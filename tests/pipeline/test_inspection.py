"""What could be cut in a network: the locked share, and how far each cost can fall."""

from __future__ import annotations

import pytest
from building import conv, head, net
from nets import NETS

from deploy_prune.budget.widths import Limits
from deploy_prune.graph import trace
from deploy_prune.graph.soundness import lock
from deploy_prune.pipeline.inspection import inspect, locked_share
from deploy_prune.sources.networks import build_network


def test_the_locked_share_leaves_out_the_image_and_the_logits() -> None:
    assert locked_share(trace(NETS["plain"]())) == 0.0


def test_the_locked_share_counts_channels_not_groups() -> None:
    """conv a makes 6 channels, conv b 8: without a, 6 of 14 are locked."""
    assert locked_share(lock(trace(NETS["plain"]()), {"a": "because"})) == pytest.approx(6 / 14)


def test_the_channels_of_a_transposed_convolution_count() -> None:
    graph = trace(NETS["transposed"]())  # conv a makes 6, t makes 7
    assert locked_share(lock(graph, {"t": "because"})) == pytest.approx(7 / 13)


def test_an_inspection_says_what_is_locked_and_where() -> None:
    network = net(lambda m, x: m.head(m.b(m.a(x).softmax(1))), a=conv(3, 6), b=conv(6, 4), head=head(4))
    found = inspect(network)
    rows = {row.name: row for row in found.groups}
    assert rows["b"].locked is None
    assert "aten._softmax.default at pipeline/test_inspection.py:" in (rows["a"].locked or "")
    assert found.locked_share == pytest.approx(0.6)


def test_the_reach_of_each_cost_is_that_of_the_floors() -> None:
    """plain at floors 3 of 6 and 4 of 8: conv a 3x3x3x3, conv b 3x4x3x3 at 64 positions, linear 4x5."""
    found = inspect(NETS["plain"](), limits=Limits(floor=0.5))
    reach = {each.cost: each for each in found.reach}
    assert reach["channels"].dense == 14
    assert reach["channels"].least == 7
    assert reach["macs"].dense == found.count.macs == 64 * (3 * 6 * 9 + 6 * 8 * 9) + 8 * 5
    assert reach["macs"].least == 64 * (3 * 3 * 9 + 3 * 4 * 9) + 4 * 5
    assert reach["params"].least == (3 * 27 + 3) + (4 * 27 + 4) + (4 * 5 + 5)
    assert reach["size"].least == 4 * reach["params"].least  # fp32, no norms


@pytest.mark.heavy
def test_every_family_of_ours_can_be_cut_everywhere() -> None:
    for name in ("resnet20", "mobilenet_v1", "mobilenet_v2", "vgg16_bn"):
        assert locked_share(trace(build_network(name, classes=10, input_shape=(3, 32, 32)))) == 0.0
