"""Laws of every cut, on generated networks; and that a plan which does not fit is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from building import conv, head, net
from generated import networks
from hypothesis import given
from hypothesis import strategies as st
from laws import halves, law_error, lively, outputs, random_keep
from nets import NETS
from torch import nn

from deploy_prune import plugins
from deploy_prune.errors import PlanError
from deploy_prune.graph import trace
from deploy_prune.graph.recount import recount
from deploy_prune.graph.soundness import find, settle
from deploy_prune.graph.surgery import cut, uncut
from deploy_prune.sources.unit_numbers import units_left
from deploy_prune.values import Network
from examples import examples

SEEDS = st.integers(0, 10_000)
FEW = examples(40)


@FEW
@given(networks(), SEEDS)
def test_a_cut_network_is_the_dense_one_with_the_removed_units_zeroed(network: Network, seed: int) -> None:
    lively(network.module, seed=seed)
    graph = settle(network)
    keep = random_keep(graph, seed)
    if not find(network, graph, keep):  # as the plan stage does with what a probe did not show
        assert law_error(network, graph, keep) < 1e-9


@pytest.mark.heavy
@FEW
@given(networks(), SEEDS)
def test_predicted_costs_are_those_counted(network: Network, seed: int) -> None:
    graph = settle(network)
    keep = random_keep(graph, seed)
    if find(network, graph, keep):
        return
    widths = np.array([len(keep[group.name]) for group in graph.free])
    counted = recount(cut(network, graph, keep))
    assert int(plugins.build("costs", "macs").model(graph)(widths)) == counted.macs
    assert int(plugins.build("costs", "params").model(graph)(widths)) == counted.params


@examples(15)
@given(networks(), SEEDS)
def test_a_cut_shares_nothing_and_changes_nothing(network: Network, seed: int) -> None:
    before = {name: tensor.clone() for name, tensor in network.module.state_dict().items()}
    graph = settle(network)
    small = cut(network, graph, random_keep(graph, seed))
    ours = {tensor.untyped_storage().data_ptr() for tensor in network.module.state_dict().values()}
    theirs = {tensor.untyped_storage().data_ptr() for tensor in small.module.state_dict().values()}
    assert not ours & theirs
    after = network.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@examples(15)
@given(networks(), SEEDS)
def test_gradients_reach_every_parameter_of_the_cut_network(network: Network, seed: int) -> None:
    graph = settle(network)
    keep = halves(graph)
    if find(network, graph, keep):
        return
    module = cut(network, graph, keep).module.train()
    torch.manual_seed(seed)
    sum(each.square().sum() for each in outputs(module, [torch.randn(4, 3, 4, 4)])).backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


@examples(20)
@given(networks(), SEEDS)
def test_cutting_twice_is_cutting_once(network: Network, seed: int) -> None:
    """Dense units that are left after two cuts, cut at once, give the same network."""
    lively(network.module, seed=seed)
    graph = settle(network)
    first = cut(network, graph, halves(graph))
    graph_now = settle(first)
    keep_now = random_keep(graph_now, seed)
    if find(network, graph, halves(graph)) or find(first, graph_now, keep_now):
        return
    second = cut(first, graph_now, keep_now)
    left = units_left(graph, second)
    at_once = cut(network, graph, left)
    state = at_once.module.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in second.module.state_dict().items())


def test_a_cut_without_losses_is_a_copy() -> None:
    network = NETS["batch_norm"]()
    small = cut(network, trace(network), {})
    assert small.kept == {}
    assert small.module is not network.module
    state = small.module.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.module.state_dict().items())


def test_kept_indices_are_in_the_dense_networks_numbers_after_two_cuts() -> None:
    network = NETS["plain"]()
    first = cut(network, trace(network), {"a": (1, 3, 5)})
    second = cut(first, trace(first), {"a": (0, 2)})
    assert second.kept["a.weight"][0].tolist() == [1, 5]
    assert second.kept["b.weight"][1].tolist() == [1, 5]
    assert units_left(trace(network), second) == {"a": (1, 5)}


def test_modules_know_their_new_sizes() -> None:
    network = net(
        lambda m, x: m.head(m.p(m.n(m.d(m.a(x))))), a=conv(3, 6), d=conv(6, 6, groups=6), n=nn.BatchNorm2d(6),
        p=nn.PReLU(6), head=head(6),
    )  # fmt: skip
    module = cut(network, trace(network), {"a": (0, 2, 4, 5)}).module
    assert (module.a.in_channels, module.a.out_channels) == (3, 4)
    assert (module.d.in_channels, module.d.out_channels, module.d.groups) == (4, 4, 4)
    assert (module.n.num_features, module.p.num_parameters, module.head[2].in_features) == (4, 4, 4)


def test_a_grouped_convolution_keeps_its_groups_when_it_loses_places() -> None:
    network = NETS["grouped_same_place"]()
    module = cut(network, trace(network), {"a": (0, 2), "g": (1,)}).module
    assert (module.g.in_channels, module.g.out_channels, module.g.groups) == (4, 2, 2)
    assert module.g.weight.shape == (2, 2, 3, 3)


def test_the_training_mode_and_frozen_parameters_survive() -> None:
    network = NETS["batch_norm"]()
    network.module.train()
    network.module.a.weight.requires_grad_(False)
    module = cut(network, trace(network), {"a": (0, 1)}).module
    assert module.training
    assert not module.a.weight.requires_grad
    assert module.n.weight.requires_grad


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"z": (0,)}, "does not have"),
        ({"a.input": (0,)}, "cannot be cut: tied to fixed content"),
        ({"head.2": (0, 1)}, "cannot be cut: model output"),
        ({"a": ()}, "keeps no unit"),
        ({"a": (0, 6)}, "do not exist, such as 6"),
        ({"a": (-1, 0)}, "do not exist, such as -1"),
        ({"a": (2, 1)}, "twice or in no order"),
        ({"a": (1, 1)}, "twice or in no order"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(keep: dict[str, tuple[int, ...]], message: str) -> None:
    network = NETS["plain"]()
    with pytest.raises(PlanError, match=message):
        cut(network, trace(network), keep)


@pytest.mark.parametrize(
    ("groups", "inputs", "first"),
    [
        (4, 16, (0, 3)),  # 4 groups of 4 lose whole groups; the 2 that are left could also lose places
        (2, 4, (1,)),  # one group is left, and looks like a plain convolution
        (2, 8, (0, 2)),  # 2 groups of 4 lose places; with 2 places left they could also lose groups
    ],
)
def test_a_second_cut_takes_a_grouped_convolution_apart_as_the_first_did(
    groups: int, inputs: int, first: tuple[int, ...]
) -> None:
    layers = {"a": conv(3, inputs), "g": conv(inputs, inputs, groups=groups), "head": head(inputs)}
    network = net(lambda m, x: m.head(m.g(m.a(x))), **layers)
    dense = trace(network)
    once = cut(network, dense, {"a": first})
    kinds = {group.name: group.channels_per_unit for group in dense.free}
    now = trace(once)
    assert {group.name: group.channels_per_unit for group in now.free} == kinds
    twice = cut(once, now, {"a": (0,)})
    assert units_left(dense, twice)["a"] == first[:1]
    assert law_error(network, dense, units_left(dense, twice), small=twice) < 1e-5


def test_a_cut_tensor_goes_back_to_its_place() -> None:
    """Rows 0 and 2 and columns 1 and 2 of a 3x3."""
    dense = torch.zeros(3, 3)
    found = uncut(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), {0: np.array([0, 2]), 1: np.array([1, 2])}, dense)
    assert found.tolist() == [[0, 1, 2], [0, 0, 0], [0, 3, 4]]
    assert dense.abs().max() == 0
    assert uncut(torch.tensor([5.0, 6.0, 7.0]), {}, torch.zeros(3)).tolist() == [5, 6, 7]
    assert float(uncut(torch.tensor(2.0), {}, torch.tensor(1.0))) == 2


def test_kernel_masks_are_cut_with_their_weights() -> None:
    network = NETS["plain"]()
    mask = torch.arange(8 * 6).reshape(8, 6, 1, 1).expand(8, 6, 3, 3) % 2 == 0
    masked = dataclasses.replace(network, masks={"b.weight": mask})
    small = cut(masked, trace(network), {"a": (1, 4), "b": (0, 2, 7)})
    assert torch.equal(small.masks["b.weight"], mask[[0, 2, 7]][:, [1, 4]])
    assert torch.equal(masked.masks["b.weight"], mask)
