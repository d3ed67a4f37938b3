"""How far a network's outputs are from those of its reference, on images without labels."""

from __future__ import annotations

import torch
from torch import Tensor

from deploy_prune.train.accelerator import find_device
from deploy_prune.train.outputs import list_tensors
from deploy_prune.values import Network

BATCH_SIZE = 50
"""How many images are run at once."""


def measure_output_error(small: Network, reference: Network, images: Tensor) -> float:
    """Measure the squared error of a network's outputs as a share of the variance of the reference's.

    Class scores are scaled first as fits best: a ridge makes them smaller, and which one is largest does not depend on
    it. Several outputs count the same; where one is not finite, the error is infinite.

    Args:
        small: the network, in eval mode.
        reference: the network that it should equal.
        images: as both take them, (images, channels, height, width).
    """
    given, wanted = (_run(network, images) for network in (small, reference))
    scaled = [reference.classes is not None and number == 0 for number in range(len(wanted))]
    errors = [_relative_error(*pair) for pair in zip(given, wanted, scaled, strict=True)]
    mean = sum(errors) / len(errors)
    return mean if mean < float("inf") else float("inf")  # NaN is not less


def _run(network: Network, images: Tensor) -> tuple[Tensor, ...]:
    """Every output of floating point, image by image."""
    device = find_device(network.module)
    with torch.no_grad():
        parts = [list_tensors(network.module(batch.to(device))) for batch in images.split(BATCH_SIZE)]  # type: ignore[no-untyped-call]
    return tuple(
        torch.cat(column).float().cpu() for column in zip(*parts, strict=True) if column[0].is_floating_point()
    )


def _relative_error(given: Tensor, wanted: Tensor, scaled: bool) -> float:
    mean = wanted.mean(0, keepdim=True)
    given, wanted = given - mean, wanted - mean
    length, variance = given.square().sum(), wanted.square().sum()
    scale = (given * wanted).sum() / length if scaled and float(length) > 0 else 1.0
    error = (scale * given - wanted).square().sum()
    return float(error / variance) if float(variance) else float(error)
