"""The law that every cut obeys: the cut network equals the dense network with the removed units' parameters zeroed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from deploy_prune.graph.law import zero_removed
from deploy_prune.graph.surgery import cut
from deploy_prune.values import ChannelGraph, Network

Keep = Mapping[str, Sequence[int]]


def law_error(network: Network, graph: ChannelGraph, keep: Keep, *, small: Network | None = None) -> float:
    """max |cut - zeroed| / max |zeroed| over all outputs on random inputs; the widths of the two must agree."""
    small = small or cut(network, graph, keep)
    images = inputs(network)
    with torch.no_grad():
        expected, actual = outputs(zero_removed(network, graph, keep).module, images), outputs(small.module, images)
    assert [each.shape for each in expected] == [each.shape for each in actual]
    scale = max(float(each.abs().max()) for each in expected)
    assert scale > 1e-6, "a network that answers nothing shows nothing"
    return max(float((one - other).abs().max()) for one, other in zip(expected, actual, strict=True)) / scale


def lively(module: nn.Module, *, seed: int = 0) -> nn.Module:
    """The module in eval mode and float64, every float tensor random: no zero biases, no unit norms."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if not tensor.is_floating_point():
            continue
        fan = max(1, tensor[0].numel()) if tensor.dim() > 1 else 1
        values = torch.randn(tensor.shape, generator=generator, dtype=torch.float64) / fan**0.5
        if tensor.dim() == 1:
            values = 1 + values.abs() if name.endswith(("running_var", "weight")) else values
        tensor.detach().copy_(values)
    return module


def inputs(network: Network, *, seed: int = 1, batch: int = 2) -> list[Tensor]:
    """Random inputs in the network's precision."""
    generator = torch.Generator().manual_seed(seed)
    kind = next((each.dtype for each in network.module.parameters()), torch.float32)
    return [torch.randn((batch, *shape), generator=generator, dtype=torch.float64).to(kind)
            for shape in network.input_shapes]  # fmt: skip


def outputs(module: nn.Module, images: Sequence[Tensor]) -> list[Tensor]:
    """Every tensor that the network returns."""
    return [each for each in tree_flatten(module(*images))[0] if isinstance(each, Tensor)]


def halves(graph: ChannelGraph) -> dict[str, tuple[int, ...]]:
    """About half of every free group, scattered."""
    return {group.name: tuple(range(1 - group.width % 2, group.width, 2)) for group in graph.free}


def random_keep(graph: ChannelGraph, seed: int) -> dict[str, tuple[int, ...]]:
    """A random non-empty subset of every free group."""
    draw = np.random.default_rng(seed)
    kept = {}
    for group in graph.free:
        count = int(draw.integers(1, group.width + 1))
        kept[group.name] = tuple(sorted(draw.choice(group.width, count, replace=False).tolist()))
    return kept
