"""Networks as flat operators: where they fall into blocks, where heads sit, that parts give what the whole does."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from building import conv, head, net
from nets import NETS
from studies import stack

from deploy_prune.errors import ConfigError, TraceError
from deploy_prune.graph import trace
from deploy_prune.graph.flat_network import Flat, block_ends, flattened, head_blocks
from deploy_prune.sources.networks import build_network
from deploy_prune.values import Network

RUNS = ["plain", "residual", "dense_block", "squeeze_excite", "depthwise", "tied_convs", "in_place", "functional_conv",
        "flatten_view", "channels_last_linear", "concat", "transposed", "shared", "grouped_same_place"]  # fmt: skip


def flat_of(network: Network, batch: int = 3) -> Flat:
    return flattened(network, [layer.weight for layer in trace(network).layers], batch=batch)


def built(name: str) -> Network:
    return build_network(name, classes=10, input_shape=(3, 32, 32))


def images(network: Network, batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, *network.input_shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("name", "blocks", "heads", "after"), [
    ("resnet56", 27, 3, (7, 14, 21)),
    ("torchvision:resnet18", 8, 2, (3, 6)),
    ("resnet20", 9, 3, (3, 6, 8)),
])  # fmt: skip
def test_heads_sit_where_the_paper_has_them(name: str, blocks: int, heads: int, after: tuple[int, ...]) -> None:
    """ResNet-56 with 3: after 7, 14, 21; ResNet-18 with 2: after 3, 6 (methods of the paper, section 4)."""
    ends = block_ends(flat_of(built(name)))
    assert len(ends) == blocks
    assert head_blocks(len(ends), heads) == after


def test_resnet50s_sixteen_blocks_have_heads_after_5_10_and_15() -> None:
    assert head_blocks(16, 3) == (5, 10, 15)


def test_a_residual_block_ends_behind_its_addition_and_its_activation() -> None:
    flat = flat_of(built("resnet20"))
    ends = block_ends(flat)
    module, x = built("resnet20").module, images(built("resnet20"))
    state = {name: tensor for name, tensor in flat.tensors.items() if name in module.state_dict()}
    module.load_state_dict(state, strict=False)
    with torch.no_grad():
        expected = module.layer1[1](module.layer1[0](torch.relu(module.bn1(module.conv1(x)))))
        (found,) = flat.part((ends[1],), (flat.image,))((x,), flat.tensors)
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_plain_network_has_a_block_per_layer_and_its_stem_is_none() -> None:
    """Three convolutions and a classifier: two blocks, each ending behind its activation."""
    flat = flat_of(stack())
    ends = block_ends(flat)
    assert [tuple(node.meta["val"].shape[1:2]) for node in ends] == [(16,), (20,)]
    assert len(flat.layers) == 4


@pytest.mark.parametrize("name", RUNS)
def test_the_parts_before_and_behind_any_cut_make_the_whole(name: str) -> None:
    network = NETS[name]()
    flat, x = flat_of(network), images(network)
    with torch.no_grad():
        whole = network.module(x)
        for cut in flat.cuts:
            (middle,) = flat.part((cut,), (flat.image,))((x,), flat.tensors)
            (found,) = flat.part((flat.output,), (cut,))((middle,), flat.tensors)
            assert torch.allclose(found, whole, atol=1e-5)


@pytest.mark.parametrize("name", RUNS)
def test_a_path_gives_what_the_network_with_another_weight_gives(name: str) -> None:
    """From every layer on its recorded inputs, the weight replaced."""
    network = NETS[name]()
    flat, x = flat_of(network), images(network)
    for layer in trace(network).layers:
        path = flat.path(layer.weight, (flat.output,))
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
    goals = (ends[0], flat.output)
    first, last = flat.path("1.0.weight", goals), flat.path("2.0.weight", goals)
    assert first is not None
    assert first.goal is ends[0]
    assert last is not None
    assert last.goal is flat.output


def test_a_path_runs_nothing_but_what_lies_behind_its_layer() -> None:
    """Of the last convolution: convolution, norm and its first result, activation, pool, view, linear."""
    flat = flat_of(stack())
    path = flat.path("2.0.weight", (flat.output,))
    assert path is not None
    assert len(path.part.nodes) == 7
    assert len(path.part.given) == 1


def test_a_weight_that_the_network_does_not_use_has_no_path() -> None:
    flat = flat_of(net(lambda m, x: m.head(m.a(x)), a=conv(3, 6), idle=conv(3, 4), head=head(6)))
    assert flat.path("idle.weight", (flat.output,)) is None


def test_running_in_place_leaves_what_was_given_alone() -> None:
    network = NETS["in_place"]()
    flat, x = flat_of(network), images(network)
    before = x.clone()
    flat.part((flat.output,), (flat.image,))((x,), flat.tensors)
    assert torch.equal(x, before)
    path = flat.path("b.weight", (flat.output,))
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


@pytest.mark.parametrize(("blocks", "heads", "said"), [
    (1, 3, "the network has 1 block$"),
    (0, 1, "the network has no blocks"),
    (3, 3, "3 heads cannot be placed between 3 blocks"),
    (4, 9, "9 heads cannot be placed between 4 blocks"),
])  # fmt: skip
def test_too_few_blocks_are_refused(blocks: int, heads: int, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        head_blocks(blocks, heads)
    assert error.match(said.rstrip("$"))


def test_no_heads_are_none() -> None:
    assert head_blocks(1, 0) == ()


def test_what_is_no_classifier_is_refused() -> None:
    maps = net(lambda m, x: m.a(x), a=conv(3, 5))
    with pytest.raises(ConfigError, match="no classifier: it answers 3 images with 3x5x8x8"):
        flat_of(maps)
    two = net(lambda m, x: (m.head(m.a(x)), m.a(x).mean((2, 3))), a=conv(3, 5), head=head(5))
    with pytest.raises(ConfigError, match="no classifier"):
        flat_of(two)


def test_what_torch_cannot_export_is_an_error_that_says_so() -> None:
    network = net(lambda m, x: m.head(m.a(x)) * (2.0 if float(x.sum()) > 0 else 1.0), a=conv(3, 5), head=head(5))
    with pytest.raises(TraceError, match=r"torch\.export cannot follow tests:net"):
        flattened(network, ["a.weight"], batch=2)
