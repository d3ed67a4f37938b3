"""What a group really loses at its widths: on images that decided neither which units go nor what makes up for them.

A layer of more inputs than there are rows fits any output from as many inputs as rows: on these rows taking the others
away costs nothing, on any other image it does. So the order of elimination comes from some images, and what each width
costs is measured on others: with D the change of the layer's weights and H the held-out products, tr(D H D^T).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from deploy_prune.scoring.obs.elimination import Reading

RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0)
"""What is tried, as shares of the mean variance of a layer's inputs."""
POINTS = 16
"""The widths at which a curve is measured; it is straight in between."""


def choose_ridge(reading: Reading) -> float:
    """Choose the ridge with which the layer makes up best for every other unit of a group, on held-out images."""
    gone = reading.columns[1::2].flatten()
    if reading.products is None or reading.judged is None or not gone.numel():
        return RIDGES[0]
    return min(RIDGES, key=lambda ridge: measure_loss(reading, gone, ridge))


def measure_losses(order: np.ndarray, readings: Sequence[Reading], ridges: Sequence[float]) -> np.ndarray:
    """Measure what the group loses by each turn, summed over layers: float (units,), 0 or more.

    Args:
        order: the units in the order in which they go, int (units,).
        readings: of every layer that reads the group, each with held-out products.
        ridges: one for each of them.
    """
    units = len(order)
    turns = np.unique(np.linspace(0, units, min(units, POINTS) + 1).round().astype(int))
    lost = [
        sum(measure_loss(each, each.columns[torch.from_numpy(order[:turn])].flatten(), ridge)
            for each, ridge in zip(readings, ridges, strict=True))
        for turn in turns
    ]  # fmt: skip
    curve = np.interp(np.arange(units + 1), turns, np.maximum.accumulate(lost))
    losses: np.ndarray = np.diff(curve)
    return losses


def measure_loss(reading: Reading, gone: Tensor, ridge: float) -> float:
    """Measure the held-out error of a layer that makes up for inputs that are gone, as a share of the variance.

    Args:
        reading: how it reads the group, with held-out products.
        gone: the inputs, int64 (columns,).
        ridge: as a share of the mean variance of its inputs.
    """
    assert reading.products is not None
    assert reading.judged is not None
    if not gone.numel():
        return 0.0
    stays = torch.ones(reading.products.shape[1], dtype=torch.bool, device=gone.device)
    stays[gone] = False
    kept = stays.nonzero()[:, 0]
    change = torch.zeros_like(reading.weight)
    change[:, :, gone] = -reading.weight[:, :, gone]
    if kept.numel():
        system = reading.products[:, kept][:, :, kept]
        penalty = ridge * reading.products.diagonal(dim1=1, dim2=2).mean()
        system.diagonal(dim1=1, dim2=2).add_(penalty.clamp(min=torch.finfo(system.dtype).tiny))
        missing = reading.weight[:, :, gone] @ reading.products[:, gone][:, :, kept]
        factor = torch.linalg.cholesky(system)
        change[:, :, kept] = torch.cholesky_solve(missing.transpose(1, 2), factor).transpose(1, 2)
    return float(((change @ reading.judged) * change).sum()) / reading.variance
