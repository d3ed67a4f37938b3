"""A few plain steps on batches that are there already: what a search can afford per candidate."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.nn import functional

from deploy_prune.train.masks import apply_masks
from deploy_prune.train.recipe import Batch, Loss, Step, plain_step
from deploy_prune.values import Network

MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
"""The settings of SGD in LeGR's search (its released code)."""
RISE = 0.1
"""The share of the steps in which the rate rises."""


def tune(
    network: Network, batches: Iterable[Batch], *, steps: int, lr: float,
    loss: Loss = functional.cross_entropy, step: Step = plain_step,
) -> Network:  # fmt: skip
    """Train the network itself for one step of SGD per batch; nothing is drawn but by the network and the step.

    It is given back in eval mode.
    The rate rises for a tenth of the steps, then falls to 0 (the released code: one rate): a network that a cut took
    apart neither bursts at the first steps, nor is judged in the middle of a swing.
    """
    module = network.module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    for done, batch in enumerate(batches):
        optimizer.param_groups[0]["lr"] = lr * min(1.0, (done + 1) / (RISE * steps)) * (1 - done / steps)
        optimizer.zero_grad(set_to_none=True)
        step(module, batch, loss).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        apply_masks(network)
    module.eval()
    return network
