"""Networks as flat operators: frontiers and cuts, and that parts give what the whole does."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from building import conv, head, net
from nets import NETS
from studies import stack

from deploy_prune.errors import TraceError
from deploy_prune.graph import trace
from deploy_prune.graph.flat_network import Flat, flatten
from deploy_prune.scoring.discrimination.blocks import block_ends
from deploy_prune.values import Network

RUNS = ["plain", "residual", "dense_block", "squeeze_excite", "depthwise", "tied_convs", "in_place", "functional_conv",
        "flatten_view", "channels_last_linear", "concat", "transposed", "shared", "grouped_same_place"]  # fmt: skip


def flat_of(network: Network, batch: int = 3) -> Flat:
    return flatten(network, [layer.weight for layer in trace(network).layers], batch=batch)


def images(network: Network, batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, *network.input_shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.heavy
@pytest.mark.parametrize("name", RUNS)
def test_the_parts_before_and_behind_any_cut_make_the_whole(name: str) -> None:
    network = NETS[name]()
    flat, x = flat_of(network), images(network)
    with torch.no_grad():
        whole = network.module(x)
        for cut in flat.cuts:
            (middle,) = flat.part((cut,), (flat.image,))((x,), flat.tensors)
            (found,) = flat.part((flat.outputs[0],), (cut,))((middle,), flat.tensors)
            assert torch.allclose(found, whole, atol=1e-5)


@pytest.mark.heavy
@pytest.mark.parametrize("name", RUNS)
def test_all_that_follows_depends_on_the_image_through_a_frontier_alone(name: str) -> None:
    """Behind every operator, several activations or one: from these values on the network gives the same answer."""
    network = NETS[name]()
    flat, x = flat_of(network), images(network)
    with torch.no_grad():
        whole = network.module(x)
        for frontier in flat.frontiers:
            values = flat.part(frontier, (flat.image,))((x,), flat.tensors)
            behind = flat.part(flat.outputs, frontier)
            by_node = dict(zip(frontier, values, strict=True))
            (answer,) = behind([by_node[node] for node in behind.given], flat.tensors)
            assert torch.allclose(answer, whole, atol=1e-5)


def test_within_a_residual_block_two_activations_are_alive() -> None:
    """The block's input, which the addition reads, and what its own layers have made of it."""
    flat = flat_of(NETS["residual"]())
    assert {len(frontier) for frontier in flat.frontiers} == {1, 2}


def test_a_network_with_several_outputs_gives_them_all_in_order() -> None:
    two = net(lambda m, x: (m.head(m.a(x)), m.a(x).mean((2, 3))), a=conv(3, 5), head=head(5))
    flat, x = flat_of(two), images(two)
    assert [tuple(node.meta["val"].shape) for node in flat.outputs] == [(3, two.classes), (3, 5)]
    with torch.no_grad():
        answers = flat.part(flat.outputs, (flat.image,))((x,), flat.tensors)
        assert all(torch.allclose(*pair, atol=1e-6) for pair in zip(answers, two.module(x), strict=True))


@pytest.mark.heavy
@pytest.mark.parametrize("name", RUNS)
def test_a_path_gives_what_the_network_with_another_weight_gives(name: str) -> None:
    """Each layer is run on its recorded inputs, its weight replaced."""
    network = NETS[name]()
    flat, x = flat_of(network), images(network)
    for layer in trace(network).layers:
        path = flat.path(layer.weight, (flat.outputs[0],))
        assert path is not None
        other = dataclasses.replace(network, module=NETS[name]().module)
        with torch.no_grad():
            dict(other.module.named_parameters())[layer.weight].mul_(0.5)
            given = flat.part(path.part.given, (flat.image,))((x,), flat.tensors)
            weights = {**flat.tensors, layer.weight: flat.tensors[layer.weight] * 0.5}
            *_, found = path.part(given, weights)
            assert torch.allclose(found, other.module(x), atol=1e-5), layer.weight


def test_a_path_ends_at_the_first_goal_that_depends_on_its_layer() -> None:
    flat = flat_of(stack())
    ends = block_ends(flat)
    goals = (ends[0], flat.outputs[0])
    first, last = flat.path("1.0.weight", goals), flat.path("2.0.weight", goals)
    assert first is not None
    assert first.goal is ends[0]
    assert last is not None
    assert last.goal is flat.outputs[0]


def test_a_path_runs_nothing_but_what_lies_behind_its_layer() -> None:
    """The last convolution's path is convolution, norm, activation, pool, flatten, linear."""
    flat = flat_of(stack())
    path = flat.path("2.0.weight", (flat.outputs[0],))
    assert path is not None
    assert len(path.part.nodes) == 6
    assert len(path.part.given) == 1


def test_a_weight_that_the_network_does_not_use_has_no_path() -> None:
    flat = flat_of(net(lambda m, x: m.head(m.a(x)), a=conv(3, 6), idle=conv(3, 4), head=head(6)))
    assert flat.path("idle.weight", (flat.outputs[0],)) is None


def test_running_in_place_leaves_what_was_given_alone() -> None:
    network = NETS["in_place"]()
    flat, x = flat_of(network), images(network)
    before = x.clone()
    flat.part((flat.outputs[0],), (flat.image,))((x,), flat.tensors)
    assert torch.equal(x, before)
    path = flat.path("b.weight", (flat.outputs[0],))
    assert path is not None
    given = flat.part(path.part.given, (flat.image,))((x,), flat.tensors)
    copies = [each.clone() for each in given]
    path.part(given, flat.tensors)
    assert all(torch.equal(one, other) for one, other in zip(given, copies, strict=True))


def test_the_network_itself_is_not_touched() -> None:
    network = stack()
    network.module.train()
    state = {name: tensor.clone() for name, tensor in network.module.state_dict().items()}
    flat_of(network)
    assert network.module.training
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.module.state_dict().items())


def test_what_torch_cannot_export_is_an_error_that_says_so() -> None:
    network = net(lambda m, x: m.head(m.a(x)) * (2.0 if float(x.sum()) > 0 else 1.0), a=conv(3, 5), head=head(5))
    with pytest.raises(TraceError, match=r"torch\.export cannot follow tests:net"):
        flatten(network, ["a.weight"], batch=2)
