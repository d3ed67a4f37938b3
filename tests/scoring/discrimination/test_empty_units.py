"""Which units go as channels once their kernels are gone: worked out by hand."""

from __future__ import annotations

import torch
from building import conv, head, net
from torch import Tensor

from deploy_prune.graph import trace
from deploy_prune.scoring.discrimination.empty_units import promote_empty_units
from deploy_prune.values import ChannelGraph, Network


def chain() -> tuple[Network, ChannelGraph, dict[str, Tensor]]:
    """a (3 -> 4), b (4 -> 3), c (3 -> 5), classifier; masks on b and c with everything left."""
    network = net(lambda m, x: m.head(m.c(m.b(m.a(x)))), a=conv(3, 4), b=conv(4, 3), c=conv(3, 5), head=head(5))
    masks = {"b.weight": torch.ones(3, 4, 3, 3, dtype=torch.bool), "c.weight": torch.ones(5, 3, 3, 3, dtype=torch.bool)}
    return network, trace(network), masks


WHOLE = {"a": (0, 1, 2, 3), "b": (0, 1, 2), "c": (0, 1, 2, 3, 4)}


def test_with_all_kernels_nothing_goes() -> None:
    _, graph, masks = chain()
    assert promote_empty_units(graph, WHOLE, masks)[0] == WHOLE


def test_a_unit_that_nobody_reads_any_more_goes() -> None:
    _, graph, masks = chain()
    masks["b.weight"][:, 2] = False
    assert promote_empty_units(graph, WHOLE, masks)[0] == {**WHOLE, "a": (0, 1, 3)}


def test_a_filter_without_kernels_goes() -> None:
    """b's filter 1 is empty, so that its unit goes, and with it what c had read of it."""
    _, graph, masks = chain()
    masks["b.weight"][1] = False
    left, cleared = promote_empty_units(graph, WHOLE, masks)
    assert left == {**WHOLE, "b": (0, 2)}
    assert not cleared["c.weight"][:, 1].any()
    assert masks["c.weight"][:, 1].all()  # what was given is not touched


def test_what_goes_can_leave_others_without_readers() -> None:
    """c reads nothing of b's unit 2, so that it goes; it alone had read a's unit 3, which then goes too."""
    _, graph, masks = chain()
    masks["c.weight"][:, 2] = False
    masks["b.weight"][:2, 3] = False
    assert promote_empty_units(graph, WHOLE, masks)[0] == {**WHOLE, "b": (0, 1), "a": (0, 1, 2)}


def test_a_layer_without_a_mask_keeps_its_units() -> None:
    """c's filters are masked, its reader, the classifier, is not: an empty filter goes, an unread unit cannot be."""
    _, graph, masks = chain()
    masks["c.weight"][4] = False
    assert promote_empty_units(graph, WHOLE, masks)[0] == {**WHOLE, "c": (0, 1, 2, 3)}


def test_the_last_unit_stays() -> None:
    _, graph, masks = chain()
    masks["b.weight"][:] = False
    left = promote_empty_units(graph, WHOLE, masks)[0]
    assert left["a"] == (0,)
    assert left["b"] == (0,)


def test_groups_that_may_not_be_cut_are_left_out() -> None:
    _, graph, masks = chain()
    masks["b.weight"][:, 2] = False
    assert promote_empty_units(graph, {"b": WHOLE["b"]}, masks)[0] == {"b": WHOLE["b"]}
