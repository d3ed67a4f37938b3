"""Batch norm statistics measured anew, as a cut changes what the layers before them give out."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from deploy_prune.sources.data import check_fit
from deploy_prune.train.accelerator import find_device
from deploy_prune.train.batches import draw_epoch
from deploy_prune.train.layout import choose_layout
from deploy_prune.train.recipe import Batch
from deploy_prune.values import Data, Network

BATCH_SIZE = 128
"""About how many images a batch has that norms are measured on."""


def recalibrate_norms(network: Network, data: Data, *, images: int = 2048, seed: int = 0) -> Network:
    """Measure the batch norms of a copy of a network anew, on some training images; nothing else changes.

    They hold the plain average over batches, not the moving one: 2,048 images suffice. Images are cropped and flipped
    as in training: what follows a norm has learnt from those statistics, and those of plain images cost an untouched
    ResNet-20 on CIFAR-10 four points.

    Raises:
        DataError: network and data do not belong together.
    """
    check_fit(network, data)
    batches = (batch.images for batch in draw_norm_batches(data, images=images, seed=seed))
    return dataclasses.replace(network, module=measure_norms(network.module, batches))


def draw_norm_batches(data: Data, *, images: int, seed: int, about: int = BATCH_SIZE) -> Iterator[Batch]:
    """Draw augmented training images to measure norms on, in batches of about that size: each counts the same."""
    chosen = np.random.default_rng(seed).permutation(len(data.train))[:images]
    batch_size = math.ceil(len(chosen) / max(1, round(len(chosen) / about)))
    return draw_epoch(data, chosen, batch_size=batch_size, seed=seed)


def measure_norms(original: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
    """Copy a module, in eval mode, with batch norms that hold the mean statistics of these batches of images."""
    module = copy.deepcopy(original).eval()
    norms = [child for child in module.modules() if isinstance(child, _BatchNorm) and child.track_running_stats]
    device, batches = find_device(module), iter(batches)
    first = next(batches, None)
    if first is None or not norms:
        return module
    layout = choose_layout(module, first.to(device))
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative
        norm.train()
    with torch.no_grad():
        for images in itertools.chain([first], batches):
            module(images.to(device).contiguous(memory_format=layout))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return module.eval()
