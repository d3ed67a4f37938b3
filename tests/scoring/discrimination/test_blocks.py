"""The blocks of a network, after which of them heads sit, and what is refused because it gives out no logits."""

from __future__ import annotations

import pytest
import torch
from building import conv, head, net
from studies import stack

from deploy_prune.errors import ConfigError
from deploy_prune.graph import trace
from deploy_prune.graph.flat_network import Flat, flatten
from deploy_prune.scoring.discrimination.blocks import block_ends, class_logits, head_blocks
from deploy_prune.sources.networks import build_network
from deploy_prune.values import Network


def flat_of(network: Network, batch: int = 3) -> Flat:
    return flatten(network, [layer.weight for layer in trace(network).layers], batch=batch)


def built(name: str) -> Network:
    return build_network(name, classes=10, input_shape=(3, 32, 32))


@pytest.mark.heavy
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


@pytest.mark.heavy
def test_a_residual_block_ends_behind_its_addition_and_its_activation() -> None:
    flat = flat_of(built("resnet20"))
    ends = block_ends(flat)
    module, x = built("resnet20").module, torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
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
        class_logits(flat_of(maps), maps, 5)
    two = net(lambda m, x: (m.head(m.a(x)), m.a(x).mean((2, 3))), a=conv(3, 5), head=head(5))
    with pytest.raises(ConfigError, match="no classifier"):
        class_logits(flat_of(two), two, 5)
