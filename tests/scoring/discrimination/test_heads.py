"""DCP's heads: what they compute, that they learn on a trunk that stands still, and the joint training's one step."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from building import conv, head, net
from studies import stack, stripes, study, trained
from torch import nn
from torch.nn import functional

from deploy_prune.errors import ConfigError
from deploy_prune.graph import trace
from deploy_prune.graph.flat_network import Flat, flatten
from deploy_prune.scoring.discrimination.blocks import block_ends
from deploy_prune.scoring.discrimination.cached_batches import selection_set
from deploy_prune.scoring.discrimination.heads import (
    Head,
    HeadRecipe,
    head_weight,
    make_heads,
    modules_at,
    train_heads,
    train_jointly,
)
from deploy_prune.sources.networks import build_network
from deploy_prune.train.batches import draw_epoch
from deploy_prune.train.recipe import Recipe
from deploy_prune.values import Network


def flat_of(network: Network, batch: int = 32) -> Flat:
    return flatten(network, [layer.weight for layer in trace(network).layers], batch=batch)


@pytest.mark.parametrize("shape", [(4, 6, 5, 3), (4, 6)])
def test_a_head_is_norm_activation_pool_and_linear(shape: tuple[int, ...]) -> None:
    found = Head(6, 3).eval()
    x = torch.randn(shape)
    with torch.no_grad():
        found.mean.normal_()
        found.variance.uniform_(0.5, 2)
        found.scale.normal_()
        found.shift.normal_()
        sizes = [1, -1, *[1] * (len(shape) - 2)]
        mean, variance, scale, shift = (
            each.reshape(sizes) for each in (found.mean, found.variance, found.scale, found.shift)
        )
        normed = ((x - mean) / (variance + 1e-5).sqrt() * scale + shift).relu()
        pooled = normed.mean((2, 3)) if len(shape) > 2 else normed
        assert torch.allclose(found(x), found.linear(pooled), atol=1e-6)
    assert found.linear.bias.abs().max() == 0


def test_heads_learn_on_a_trunk_that_stands_still() -> None:
    data = stripes()
    network = trained(stack(), data)
    flat = flat_of(network)
    ends = block_ends(flat)[:1]
    heads = make_heads(ends, 4, seed=0)
    before = {name: tensor.clone() for name, tensor in network.module.state_dict().items()}
    first = [each.clone() for each in heads[0].parameters()]
    found = train_heads(flat, ends, heads, data, HeadRecipe(epochs=6, images=192), seed=0)
    (batch, *_) = selection_set(data, 192, 32, seed=1)
    with torch.no_grad():
        (features,) = flat.part(ends, (flat.image,))((batch.images,), flat.tensors)
        right = (found[0](features).argmax(1) == batch.target).float().mean()
    assert right > 0.6  # a quarter by chance
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.module.state_dict().items())
    assert all(torch.equal(one, other) for one, other in zip(first, heads[0].parameters(), strict=True))
    assert not any(each.requires_grad for each in found[0].parameters())


def test_the_same_seed_gives_the_same_heads() -> None:
    data, network = stripes(), stack()
    flat = flat_of(network)
    ends = block_ends(flat)[:1]
    recipe = HeadRecipe(epochs=1, images=96)
    one, same, other = (
        train_heads(flat, ends, make_heads(ends, 4, seed=seed), data, recipe, seed=seed)[0].linear.weight
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_heads_loss_weighs_by_its_squared_depth() -> None:
    """ResNet-56's at 7, 14 and 21; the least is 0.01."""
    assert [head_weight(depth, 21) for depth in (7, 14, 21)] == pytest.approx([1 / 9, 4 / 9, 1])
    assert head_weight(1, 50) == 0.01


@pytest.mark.heavy
def test_the_modules_at_block_ends_are_found_by_what_they_give_out() -> None:
    network = build_network("resnet20", classes=10, input_shape=(3, 32, 32))
    flat = flat_of(network, 4)
    ends = [block_ends(flat)[place] for place in (2, 5, 7)]
    assert modules_at(flat, ends, network, torch.randn(4, 3, 32, 32)) == ("layer1.2", "layer2.2", "layer3.1")


@pytest.mark.heavy
def test_modules_that_work_in_place_are_told_apart() -> None:
    network = build_network("torchvision:resnet18", classes=10, input_shape=(3, 32, 32))
    flat = flat_of(network, 4)
    ends = [block_ends(flat)[place] for place in (2, 5)]
    assert modules_at(flat, ends, network, torch.randn(4, 3, 32, 32)) == ("layer2.0", "layer3.1")


def test_a_block_end_that_no_module_gives_out_is_refused() -> None:
    network = net(
        lambda m, x: m.head(m.c(m.b(m.a(x).relu()).relu())), a=conv(3, 6), b=conv(6, 6), c=conv(6, 6), head=head(6)
    )
    flat = flat_of(network, 4)
    with pytest.raises(ConfigError, match="no module that gives out the end of a block"):
        modules_at(flat, block_ends(flat)[:1], network, torch.randn(4, 3, 8, 8))


def test_the_joint_training_steps_on_the_weighted_sum(tmp_path: Path) -> None:
    """One step of plain SGD over all images: lr x the gradient of L_f + 0.25 x L_S, worked out beside it."""
    data, network = stripes(images=64), stack()
    of = study(network, data, folder=tmp_path)
    flat = flat_of(network)
    heads = make_heads(block_ends(flat)[:1], 4, seed=0)
    recipe = Recipe(1, batch_size=64, lr=0.1, momentum=0.0, weight_decay=0.0, precision="fp32")
    found, trained_head = train_jointly(of, {"1": 0.25}, heads, recipe)

    (batch,) = draw_epoch(data, np.arange(64), batch_size=64, seed=0)
    module, own = copy.deepcopy(network.module).train(), copy.deepcopy(heads[0]).train()
    middle = module[1](module[0](batch.images))
    loss = functional.cross_entropy(nn.Sequential(*module[2:])(middle), batch.target)
    loss = loss + 0.25 * functional.cross_entropy(own(middle), batch.target)
    loss.backward()
    for name, parameter in module.named_parameters():
        expected = parameter - 0.1 * parameter.grad
        assert torch.allclose(found.module.get_parameter(name), expected, atol=1e-6), name
    expected = own.linear.weight - 0.1 * own.linear.weight.grad
    assert torch.allclose(trained_head[0].linear.weight, expected, atol=1e-6)
    assert torch.equal(network.module[0][0].weight, stack().module[0][0].weight)
