"""Sizes that a forward pass has baked in are found by cutting and tracing again, and locked with their line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from building import conv, head, net
from laws import halves, law_error, lively, random_keep
from nets import NETS
from torch import Tensor, nn
from torch.nn import functional

from deploy_prune.graph import trace
from deploy_prune.graph.soundness import find, lock, settle
from deploy_prune.values import Network


def _option_a(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    return m.head(m.b(y) + functional.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)))


def _halved(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    return m.head(torch.cat([y[:, 8:], y[:, :8]], 1))


BAKED: dict[str, tuple[Callable[[], Network], dict[str, str]]] = {
    "view": (
        lambda: net(lambda m, x: m.l(m.a(x).view(x.size(0), 4, -1).mean(2)), a=conv(3, 4), l=nn.Linear(4, 5)),
        {"a": "aten."},
    ),
    "reshape": (
        lambda: net(lambda m, x: m.head(m.a(x).reshape(-1, 6, 8, 8)), a=conv(3, 6), head=head(6)),
        {"a": "aten.view.default"},
    ),
    "slice": (
        lambda: net(lambda m, x: m.head(m.a(x)[:, :4]), a=conv(3, 8), head=head(4)),
        {"a": "aten.", "a#2": "aten."},
    ),
    "swapped slices": (
        lambda: net(_halved, a=conv(3, 16), head=head(16)),
        {"a": "aten."},
    ),
    "split sizes": (
        NETS["asymmetric_split"],
        {"a": "aten.split_with_sizes.default", "a#2": "aten.split_with_sizes.default"},
    ),
    "pad amounts": (
        lambda: net(_option_a, a=conv(3, 4), b=conv(4, 8, stride=2), head=head(8)),
        {"a": "aten.add.Tensor", "b": "aten.add.Tensor"},
    ),
    "padding beside two channels": (
        lambda: net(lambda m, x: m.head(functional.pad(m.a(x), (0, 0, 0, 0, 0, 2)) + m.b(x)), a=conv(3, 6),
                    b=conv(3, 8), head=head(8)),
        {"a": "aten.add.Tensor", "b": "aten.add.Tensor"},
    ),
    "roll over channels": (
        lambda: net(lambda m, x: m.head(m.a(x).roll(2, 1)), a=conv(3, 8), head=head(8)),
        {"a": "a cut shifts channels at aten.addmm.default"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAKED)
def test_a_baked_size_is_locked_with_its_line(name: str) -> None:
    make, expected = BAKED[name]
    network = make()
    graph = settle(network)
    locked = {group.name: group.locked or "" for group in graph.groups}
    for group, reason in expected.items():
        assert reason in locked[group]
        assert ".py:" in locked[group]
    lively(network.module)
    assert law_error(network, graph, random_keep(graph, 0)) < 1e-12


def test_nothing_but_the_baked_group_is_locked() -> None:
    network = net(
        lambda m, x: m.head(m.c(m.b(m.a(x)).reshape(-1, 6, 8, 8))), a=conv(3, 7), b=conv(7, 6), c=conv(6, 4),
        head=head(4),
    )  # fmt: skip
    assert [group.name for group in settle(network).free] == ["a", "c"]


def test_a_size_that_fits_only_while_groups_shrink_alike_is_found() -> None:
    """The middle of the channels is where it was as long as both convolutions lose equally many."""

    def forward(m: Any, x: Tensor) -> Tensor:
        y = torch.cat([m.a(x), m.b(x)], 1)
        middle = y.shape[1] // 2
        return m.head(m.c(y[:, :middle]) + m.d(y[:, middle:]))

    layers = {"a": conv(3, 16), "b": conv(3, 16), "c": conv(16, 4), "d": conv(16, 4), "head": head(4)}
    network = net(forward, **layers)
    graph = trace(network)
    assert find(network, graph, halves(graph)) == {}
    assert {"a", "b"} & {group.name for group in settle(network).groups if group.locked}


def test_a_sound_cut_has_no_violations() -> None:
    network = NETS["dense_block"]()
    graph = trace(network)
    assert find(network, graph, {}) == {}
    assert find(network, graph, random_keep(graph, 4)) == {}


def test_locking_changes_the_named_groups_alone() -> None:
    graph = trace(NETS["concat"]())
    locked = lock(graph, {"b": "because"})
    assert [group.name for group in locked.free] == ["a", "c"]
    assert [group.name for group in graph.free] == ["a", "b", "c"]


def test_probing_leaves_the_network_alone() -> None:
    network = NETS["asymmetric_split"]()
    before = {name: tensor.clone() for name, tensor in network.module.state_dict().items()}
    settle(network)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.module.state_dict().items())


def test_a_depthwise_convolution_may_be_cut_to_one_channel() -> None:
    network = NETS["depthwise"]()
    assert find(network, trace(network), {"a": (2,)}) == {}
