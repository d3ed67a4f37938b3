"""Batch norm statistics measured anew, as a cut changes what the layers before them give out."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from deploy_prune.data import check_fit
from deploy_prune.train.batches import epoch_batches
from deploy_prune.values import Data, Network

BATCH_SIZE = 128


def recalibrate_norms(network: Network, data: Data, *, images: int = 2048, seed: int = 0) -> Network:
    """A new network whose batch norms hold the mean statistics of some training images; nothing else changes.

    The plain average over batches, not the moving one: 2,048 images suffice. Images are cropped and flipped as in
    training: what follows a norm has learnt from those statistics, and those of plain images cost an untouched
    ResNet-20 on CIFAR-10 four points.

    Raises:
        DataError: network and data do not belong together.
    """
    check_fit(network, data)
    module = copy.deepcopy(network.module).eval()
    norms = [child for child in module.modules() if isinstance(child, _BatchNorm) and child.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative
        norm.train()
    if norms:
        _pass_through(module, data, images=images, seed=seed)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return dataclasses.replace(network, module=module.eval())


def _pass_through(module: nn.Module, data: Data, *, images: int, seed: int) -> None:
    device = next(module.parameters()).device
    chosen = np.random.default_rng(seed).permutation(len(data.train.labels))[:images]
    # Batches of about equal size, as each counts the same in the average.
    batch_size = math.ceil(len(chosen) / max(1, round(len(chosen) / BATCH_SIZE)))
    with torch.no_grad():
        for batch in epoch_batches(data, chosen, batch_size=batch_size, seed=seed):
            module(batch.images.to(device))
