"""A few plain steps on batches that are there already: what a search can afford per candidate."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional

from deploy_prune.train.recipe import Batch

MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
"""Of LeGR's search (its released code)."""


def tuned(module: nn.Module, batches: Iterable[Batch], *, lr: float) -> nn.Module:
    """The module itself after one step of SGD per batch, in eval mode; nothing is drawn but the network's own."""
    optimizer = torch.optim.SGD(module.parameters(), lr=lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    module.train()
    for batch in batches:
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(module(batch.images), batch.labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return module.eval()
