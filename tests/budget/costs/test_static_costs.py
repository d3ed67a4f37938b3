"""MACs, parameters, bytes and channels of a network small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from nets import NETS

from deploy_prune import plugins
from deploy_prune.graph import trace


def cost(name: str, network: str, widths: list[int]) -> float:
    return float(plugins.build("costs", name).model(trace(NETS[network]()))(np.array(widths)))


# plain: conv a 3 -> 6 and conv b 6 -> 8 (3x3, 8x8 positions, biases), linear 8 -> 5.
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("macs", 64 * (3 * 2 * 9 + 2 * 5 * 9) + 5 * 5),
        ("params", (3 * 2 * 9 + 2) + (2 * 5 * 9 + 5) + (5 * 5 + 5)),
        ("size", 4 * ((3 * 2 * 9 + 2) + (2 * 5 * 9 + 5) + (5 * 5 + 5))),
        ("channels", 2 + 5),
    ],
)
def test_a_plain_network_at_2_and_5_channels(name: str, expected: int) -> None:
    assert cost(name, "plain", [2, 5]) == expected


def test_norms_count_as_parameters_and_vanish_in_the_file() -> None:
    """Converters fold a batch norm into the convolution before it."""
    assert cost("params", "batch_norm", [6]) == (3 * 6 * 9 + 6) + 2 * 6 + (6 * 5 + 5)
    assert cost("size", "batch_norm", [6]) == 4 * ((3 * 6 * 9 + 6) + (6 * 5 + 5))


def test_a_depthwise_convolution_loses_rows_alone() -> None:
    """a 3 -> 6, depthwise 6, b 6 -> 8 at 64 positions, linear 8 -> 5; 3 and 4 channels are left."""
    assert cost("macs", "depthwise", [3, 4]) == 64 * (3 * 3 * 9 + 3 * 9 + 3 * 4 * 9) + 4 * 5


def test_a_transposed_convolution_counts_its_input_positions() -> None:
    """a 3 -> 6 at 8x8, t 6 -> 7 (2x2, stride 2) from 8x8 positions, linear 7 -> 5; 3 and 4 channels are left."""
    assert cost("macs", "transposed", [3, 4]) == 64 * (3 * 3 * 9 + 3 * 4 * 4) + 4 * 5
    assert cost("size", "transposed", [3, 4]) == 4 * ((3 * 3 * 9 + 3) + (3 * 4 * 4 + 4) + (4 * 5 + 5))


def test_a_shared_convolution_is_counted_at_every_call_and_stored_once() -> None:
    """a 3 -> 6, b 6 -> 6 called twice, linear 6 -> 5; 2 channels are left."""
    assert cost("macs", "shared", [2]) == 64 * (3 * 2 * 9 + 2 * (2 * 2 * 9)) + 2 * 5
    assert cost("params", "shared", [2]) == (3 * 2 * 9 + 2) + (2 * 2 * 9 + 2) + (2 * 5 + 5)


def test_a_unit_of_several_channels_counts_them_all() -> None:
    assert cost("channels", "grouped_same_place", [3, 5]) == 3 * 2 + 5 * 2


def test_locked_products_are_counted_as_they_are() -> None:
    """a 3 -> 6 (3x3 at 64 positions), b's computed weight 6 -> 4 (3x3 without padding: 36 positions), linear 4 -> 5."""
    graph = trace(NETS["computed_weight"]())
    assert graph.free == ()
    assert cost("macs", "computed_weight", []) == 64 * 3 * 6 * 9 + 36 * 6 * 4 * 9 + 4 * 5
