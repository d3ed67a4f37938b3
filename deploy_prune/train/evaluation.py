"""How good a network is on some images, and by how much two networks differ on the same ones."""

from __future__ import annotations

import copy
import math
from types import FunctionType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from deploy_prune.errors import ConfigError
from deploy_prune.sources.data import check_fit, labels_of, normalise
from deploy_prune.train.accelerator import device_of
from deploy_prune.train.recipe import Hooks, Metric
from deploy_prune.values import TOP_1, Data, ImageSet, Interval, Network, Quality

Z95 = 1.959963984540054  # of a two-sided 95 % interval
OURS = Hooks()
LAMBDA = (lambda: None).__name__


def evaluate(network: Network, split: ImageSet, data: Data, *, hooks: Hooks = OURS, batch_size: int = 256) -> Quality:
    """Top-1 (or the mean of the user's metric) on all images of a split, in fp32, without augmentation.

    Raises:
        DataError: network and data do not belong together.
        ConfigError: the user's metric does not give one number per image.
    """
    check_fit(network, data)
    logits = predict(network.module, split, data, batch_size=batch_size)
    labels = torch.from_numpy(labels_of(data, split, "judging by classes"))
    values = (hooks.metric or _hits)(logits, labels).detach().cpu()
    if values.shape != labels.shape:
        message = f"your metric gives shape {tuple(values.shape)} for {len(labels)} images"
        raise ConfigError(message, hint="return one number per image")
    numbers = values.to(torch.float64).numpy()
    loss = float((hooks.loss or functional.cross_entropy)(logits, labels))
    return quality_of(TOP_1 if hooks.metric is None else _name(hooks.metric), numbers, loss)


def quality_of(name: str, numbers: np.ndarray, loss: float) -> Quality:
    """The mean of a number per image, float64 (images,), with its 95 % interval."""
    are_hits = bool(np.isin(numbers, (0.0, 1.0)).all())
    interval = wilson_interval(int(numbers.sum()), len(numbers)) if are_hits else _mean_interval(numbers)
    return Quality(name, float(numbers.mean()), interval, len(numbers), loss, tuple(numbers.tolist()))


def _name(metric: Metric) -> str:
    """What the user calls the metric."""
    name = metric.__name__ if isinstance(metric, FunctionType) else type(metric).__name__
    return "your metric" if name == LAMBDA else name


def predict(module: nn.Module, split: ImageSet, data: Data, *, batch_size: int = 256) -> Tensor:
    """Logits of every image of a split, in order, on the CPU: float32 (images, classes)."""
    if any(child.training for child in module.modules()):
        module = copy.deepcopy(module).eval()
    device = device_of(module)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(split), batch_size):
            pixels = split.read(np.arange(start, min(start + batch_size, len(split))))
            parts.append(module(normalise(pixels, data.mean, data.std).to(device)).float().cpu())
    return torch.cat(parts).clone()


def paired_difference(a: Quality, b: Quality) -> tuple[float, Interval]:
    """The value of `b` minus that of `a` on the same images, with a 95 % interval.

    The interval of hits is Agresti and Min's (2005, Statistics in Medicine 24:729): Wald's for matched pairs after
    adding one half to each cell of the 2x2 table; unlike Wald's it does not collapse when the two never differ. Of
    other numbers it is the normal one of the mean difference.

    Raises:
        ConfigError: they were not judged by the same quality, number by number on the same images.
    """
    if a.name != b.name:
        message = f"{a.name} and {b.name} are two qualities"
        raise ConfigError(message, hint="evaluate both by the same metric")
    if len(a.per_item) != len(b.per_item) or not a.per_item:
        message = f"{len(a.per_item)} and {len(b.per_item)} images cannot be compared in pairs"
        raise ConfigError(message, hint="evaluate both on the same split")
    before, after = np.array(a.per_item), np.array(b.per_item)
    if a.of_hits and b.of_hits:
        return b.value - a.value, _hits_interval(int((after > before).sum()), int((after < before).sum()), len(before))
    return b.value - a.value, _mean_interval(after - before)


def _hits_interval(gained: int, lost: int, images: int) -> Interval:
    """95 % of the difference of two shares on the same images, of which so many were gained and lost."""
    counted = images + 2
    difference = (gained - lost) / counted
    spread = math.sqrt((gained + lost + 1) - (gained - lost) ** 2 / counted) / counted
    return difference - Z95 * spread, difference + Z95 * spread


def wilson_interval(hits: int, images: int) -> Interval:
    """95 % interval of a proportion (Wilson 1927); holds its level close to 0 and 1 too."""
    share, weight = hits / images, Z95**2 / images
    middle = (share + weight / 2) / (1 + weight)
    half = Z95 / (1 + weight) * math.sqrt(share * (1 - share) / images + weight / (4 * images))
    return max(0.0, middle - half), min(1.0, middle + half)


def _mean_interval(numbers: np.ndarray) -> Interval:
    half = Z95 * float(numbers.std(ddof=1)) / math.sqrt(len(numbers)) if len(numbers) > 1 else math.inf
    return float(numbers.mean()) - half, float(numbers.mean()) + half


def _hits(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.argmax(dim=1) == labels
