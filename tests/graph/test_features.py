"""One tiny network per feature: what is grouped, worked out by hand, and the law that every cut obeys."""

from __future__ import annotations

import numpy as np
import pytest
from laws import halves, law_error, lively, random_keep
from nets import NETS
from torch import nn

from deploy_prune import plugins
from deploy_prune.graph import trace
from deploy_prune.graph.recount import recount
from deploy_prune.graph.soundness import settle
from deploy_prune.graph.surgery import cut
from deploy_prune.values import ChannelGraph, Network

# Group -> (units, channels of the layer that makes them per unit); the image's and the logits' groups are left out.
FREE = {
    "plain": {"a": (6, 1), "b": (8, 1)},
    "grouped_same_place": {"a": (4, 2), "g": (6, 2)},  # 2 groups of 4 inputs, 6 outputs: one place in each
    "grouped_whole": {"a": (4, 2)},  # 4 groups of 2 inputs and 3 outputs: a whole group at a time
    "depthwise": {"a": (6, 1), "b": (8, 1)},
    "depthwise_multiplier": {"a": (4, 1)},
    "transposed": {"a": (6, 1), "t": (7, 1)},
    "transposed_grouped": {"a": (3, 2), "t": (4, 1)},  # its weight has 8 / 2 columns
    "transposed_whole": {"a": (4, 2)},
    "transposed_depthwise": {"a": (6, 1)},
    "batch_norm": {"a": (6, 1)},
    "batch_norm_plain": {"a": (6, 1)},
    "prelu_many": {"a": (6, 1)},
    "prelu_one": {"a": (6, 1)},
    "residual": {"a": (6, 1), "b": (4, 1)},
    "squeeze_excite": {"a": (8, 1), "down": (4, 1)},
    "spatial_gate": {"a": (6, 1), "gate": (1, 1)},
    "concat": {"a": (4, 1), "b": (6, 1), "c": (5, 1)},
    "concat_image": {"a": (4, 1), "b": (5, 1)},
    "dense_block": {"a": (4, 1), "b": (3, 1), "c": (5, 1)},
    "ghost": {"a": (4, 1)},
    "chunk": {"a": (4, 2)},
    "glu": {"a": (4, 2)},
    "shuffle": {"a": (2, 4), "b": (4, 2)},  # shuffled by 2 into 2 groups
    "channel_shuffle": {"a": (4, 2), "b": (6, 1)},
    "flatten_module": {"a": (4, 1)},
    "flatten_view": {"a": (4, 1)},
    "permuted_flatten": {"a": (4, 1)},
    "channels_last_linear": {"a": (4, 1), "l": (6, 1)},
    "shared": {"a": (6, 1)},
    "in_place": {"a": (6, 1)},
    "two_inputs": {"a": (6, 1)},
    "tied_convs": {"a": (6, 1)},
    "tied_linears": {"a": (6, 1), "d": (4, 1)},
    "functional_conv": {"a": (4, 1), "w": (6, 1)},
    "functional_linear": {"a": (4, 1), "w": (6, 1)},
    "layer_scale": {"a": (6, 1)},
    "scale_rank1": {"a": (6, 1)},
    "scale_rank4": {"a": (6, 1)},
    "pixel_shuffle": {"a": (2, 4), "b": (6, 1)},
    "pixel_unshuffle": {"a": (4, 1)},
    "even_odd": {"a": (4, 2)},
    "split_branches": {"a": (4, 2), "b": (3, 1)},
    "stack_branches": {"a": (6, 1)},
    "likes": {"a": (6, 1), "b": (4, 1)},
    "index_buffer": {"a": (6, 1)},
    "group_norm_instance": {"a": (1, 6)},  # the number of groups stays, so a unit is a place in each
}


def free_of(graph: ChannelGraph) -> dict[str, tuple[int, int]]:
    return {group.name: (group.width, group.channels_per_unit) for group in graph.free}


@pytest.mark.parametrize("name", FREE)
def test_groups_are_those_worked_out_by_hand(name: str) -> None:
    assert free_of(settle(NETS[name]())) == FREE[name]


@pytest.mark.parametrize("name", NETS)
def test_every_cut_obeys_the_law(name: str) -> None:
    network = NETS[name]()
    lively(network.module)
    graph = settle(network)
    for keep in (halves(graph), random_keep(graph, 1), random_keep(graph, 2)):
        assert law_error(network, graph, keep) < 1e-12


@pytest.mark.heavy
@pytest.mark.parametrize("name", [name for name in NETS if name != "einsum"])  # fvcore counts that sum as a product
def test_predicted_macs_and_params_are_those_counted(name: str) -> None:
    network = NETS[name]()
    graph = settle(network)
    keep = random_keep(graph, 3)
    widths = np.array([len(keep[group.name]) for group in graph.free])
    counted = recount(cut(network, graph, keep))
    assert int(plugins.build("costs", "macs").model(graph)(widths)) == counted.macs
    assert int(plugins.build("costs", "params").model(graph)(widths)) == counted.params


def test_members_name_every_axis_that_loses_a_unit() -> None:
    graph = trace(NETS["batch_norm"]())
    group = next(group for group in graph.groups if group.name == "a")
    places = {(member.parameter, member.axis) for member in group.members}
    names = ("a.weight", "a.bias", "n.weight", "n.bias", "n.running_mean", "n.running_var")
    assert places == {*((name, 0) for name in names), ("head.2.weight", 1)}
    assert all(member.indices.tolist() == [[0], [1], [2], [3], [4], [5]] for member in group.members)


def test_concat_shifts_the_second_branch() -> None:
    graph = trace(NETS["concat"]())
    columns = {group.name: member.indices[:, 0].tolist() for group in graph.groups for member in group.members
               if (member.parameter, member.axis) == ("c.weight", 1)}  # fmt: skip
    assert columns == {"a": [0, 1, 2, 3], "b": [4, 5, 6, 7, 8, 9]}


def test_flattening_gives_a_channel_all_its_positions() -> None:
    """4 channels of 8x8: channel-first they are 64 columns in a row, channel-last every fourth."""
    for name, second in (("flatten_module", range(64, 128)), ("permuted_flatten", range(1, 256, 4))):
        graph = trace(NETS[name]())
        group = next(group for group in graph.groups if group.name == "a")
        member = next(member for member in group.members if member.parameter == "l.weight")
        assert member.indices[1].tolist() == list(second)


def test_a_depthwise_multiplier_gives_a_unit_several_rows() -> None:
    graph = trace(NETS["depthwise_multiplier"]())
    group = next(group for group in graph.groups if group.name == "a")
    member = next(member for member in group.members if member.parameter == "d.weight")
    assert member.indices.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]


def test_only_groups_that_meet_in_an_addition_are_residual() -> None:
    graph = trace(NETS["residual"]())
    assert {group.name: group.residual for group in graph.free} == {"a": True, "b": False}


def test_tied_weights_stay_one_tensor() -> None:
    network = NETS["tied_convs"]()
    graph = trace(network)
    small = cut(network, graph, halves(graph)).module
    assert small.b.weight is small.c.weight
    assert small.b.weight.shape == (3, 3, 3, 3)


def test_the_input_and_the_logits_are_locked() -> None:
    reasons = {group.name: group.locked for group in trace(NETS["plain"]()).groups}
    assert reasons["a.input"].startswith("tied to fixed content by aten.convolution.default at support/nets.py:")
    assert reasons["head.2"] == "model output"


def test_a_lock_in_a_network_without_a_forward_of_its_own_names_no_line_of_ours() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4 * 64, 2))
    network = Network("sequence", layers, ((3, 8, 8),), 2)
    reasons = {group.name: group.locked for group in trace(network).groups}
    assert reasons["0.input"] == "tied to fixed content by aten.convolution.default in a module of torch"
