"""A few plain steps on batches that are there already: what a search can afford per candidate."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional

from deploy_prune.train.recipe import Batch

MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
"""Of LeGR's search (its released code)."""
RISE = 0.1


def tuned(module: nn.Module, batches: Iterable[Batch], *, steps: int, lr: float) -> nn.Module:
    """The module itself after one step of SGD per batch, in eval mode; nothing is drawn but the network's own.

    The rate rises for a tenth of the steps, then falls to 0 (the released code: one rate): a network that a cut took
    apart neither bursts at the first steps, nor is judged in the middle of a swing.
    """
    optimizer = torch.optim.SGD(module.parameters(), lr=lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    module.train()
    for step, batch in enumerate(batches):
        optimizer.param_groups[0]["lr"] = lr * min(1.0, (step + 1) / (RISE * steps)) * (1 - step / steps)
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(module(batch.images), batch.labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return module.eval()
