"""What removed channels gave is not lost: their mean goes to the bias of what read them.

A channel whose norm has a scale near 0 gives a constant, act(beta), wherever its input; to drop it drops the constant
too. A layer that reads it without padding gives the same again, if the constant times its weights is added to its bias
or taken from the mean of the norm behind it (Network Slimming, arXiv 1708.06519, leaves this to fine-tuning).
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from deploy_prune.graph.norm_scales import trace_flow
from deploy_prune.graph.surgery import kept_indices
from deploy_prune.train.accelerator import find_device
from deploy_prune.train.recalibration import draw_norm_batches
from deploy_prune.values import ChannelGraph, Data, Keep, Network

IMAGES = 512
"""How many training images means are measured on."""


def compensate(
    small: Network,
    dense: Network,
    graph: ChannelGraph,
    keep: Keep,
    data: Data,
    *,
    seed: int = 0,
) -> Network:
    """Give unpadded readers of removed channels these channels' means, in a copy of the cut network.

    A layer with weight (outputs, inputs, 3, 3) that reads a removed channel j of mean m_j loses
    m_j x (the sum of weight[i, j]) in each output i: that is added to its bias, or taken from the norm's mean.

    Args:
        small: the dense network cut to `keep`, on the same device.
        dense: the dense network, with the weights that `small` was cut from.
        graph: the graph of the dense network.
        keep: the units that stayed.
        data: the data whose training images the means are measured on.
        seed: the seed that draws the images.
    """
    kept = kept_indices(graph, keep)
    readers = {name: part for name, part in _find_unpadded_readers(dense.module) if 1 in kept.get(f"{name}.weight", {})}
    means = _measure_means(dense, readers, data, seed)
    after = trace_flow(dense.module, dense.input_shapes).norm_after
    module = copy.deepcopy(small.module)
    for name, part in readers.items():
        weight = f"{name}.weight"
        gone = np.setdiff1d(np.arange(part.weight.shape[1]), kept[weight][1])
        rows = kept[weight].get(0, np.arange(part.weight.shape[0]))
        sums = part.weight.detach().flatten(2).sum(2) if part.weight.dim() > 2 else part.weight.detach()  # (out, in)
        _add_lost(module, name, (sums[:, gone] @ means[name][gone])[rows], after.get(weight))
    return dataclasses.replace(small, module=module)


def _find_unpadded_readers(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, part in module.named_modules():
        plain = isinstance(part, nn.Conv2d) and part.groups == 1 and not any(part.padding)
        if plain or isinstance(part, nn.Linear):
            yield name, part


def _measure_means(dense: Network, readers: Mapping[str, nn.Module], data: Data, seed: int) -> dict[str, Tensor]:
    """Module -> the mean of every channel that it reads, over some training images: shape (channels,)."""
    device = find_device(dense.module)
    sums = {name: torch.zeros((), device=device) for name in readers}
    counts = dict.fromkeys(readers, 0)

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def note(part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            rows = inputs[0].movedim(1 if isinstance(part, nn.Conv2d) else -1, 0).flatten(1)
            sums[name] = sums[name] + rows.sum(1)
            counts[name] += rows.shape[1]

        return note

    handles = [part.register_forward_pre_hook(watch(name)) for name, part in readers.items()]
    try:
        with torch.no_grad():
            for batch in draw_norm_batches(data, images=IMAGES, seed=seed):
                dense.module(batch.images.to(device))
    finally:
        for handle in handles:
            handle.remove()
    return {name: sums[name] / max(counts[name], 1) for name in readers}


def _add_lost(module: nn.Module, name: str, lost: Tensor, gamma: str | None) -> None:
    """Give what is lost to the layer's bias, or to the norm behind it; a layer that has neither stays as it is."""
    bias = getattr(module.get_submodule(name), "bias", None)
    with torch.no_grad():
        if bias is not None:
            bias += lost
        elif gamma is not None:
            norm = module.get_submodule(gamma.rpartition(".")[0])
            assert isinstance(norm, _BatchNorm)
            if norm.running_mean is not None:
                norm.running_mean -= lost
