"""How good a network is on some images, and by how much two networks differ on the same ones."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deploy_prune.errors import ConfigError, Diverged
from deploy_prune.graph.fold_norms import find_foldable, fold_modules
from deploy_prune.sources.data import check_fit, normalise, read_labelled, require_labels
from deploy_prune.stats import Z95
from deploy_prune.train.accelerator import find_device
from deploy_prune.train.guarded_hooks import name_hook
from deploy_prune.train.layout import choose_layout, count_judged_at_once
from deploy_prune.train.outputs import Outputs, convert_to_fp32, join_batches, list_tensors, map_tensors
from deploy_prune.train.recipe import OURS, Hooks, Metric
from deploy_prune.train.refit.output_error import OutputError
from deploy_prune.train.targets import find_dense_network, find_task
from deploy_prune.train.tasks import Task
from deploy_prune.values import Data, ImageSet, Interval, Network, Progress, Quality, quiet

LAMBDA = (lambda: None).__name__
JUDGED_BYTES = 1 << 30
"""Bytes of outputs and targets that are kept to be judged at once: those of class scores, of any split."""


def evaluate(
    network: Network,
    split: ImageSet,
    data: Data,
    *,
    hooks: Hooks = OURS,
    batch_size: int | None = None,
    progress: Progress = quiet,
) -> Quality:
    """What the task judges by (or the mean of the user's metric) on all images of a split, in fp32, not augmented.

    Norms are folded into the convolutions before them, as exporters do it; the network is not changed. `batch_size`
    images are judged at once, None: as many as suit where it computes. `progress` is told how many are judged.

    Raises:
        DataError: network and data do not belong together.
        Diverged: the network gives NaN or infinity.
        ConfigError: the user's metric does not give one finite number per image; or there are no labels, and no
            teacher, the dense network, is given to hold the network against.
    """
    check_fit(network, data)
    task = find_task(network, hooks, data)
    metric, loss_of = hooks.metric or task.numbers, hooks.loss or task.loss
    numbers, losses = [], []
    dense = find_dense_network(task, hooks)
    error = OutputError(dense.classes) if dense else None
    at_once = batch_size or count_judged_at_once(data.image_shape, find_device(network.module))
    batches = _watch_error(_answer_batches(network, dense, split, data, at_once), error)
    for part in _join_parts(_tell_judged(batches, len(split), progress), len(split)):
        values = _judge(metric, part)
        loss = float(loss_of(part.outputs, part.target))
        if not (math.isfinite(loss) and np.isfinite(values).all()):
            raise _explain_lost(network, part, hooks, loss)
        numbers.append(values)
        losses.append(loss * (part.images / len(split)))
    quality = make_quality(name_quality(task, hooks.metric), np.concatenate(numbers), math.fsum(losses))
    return dataclasses.replace(quality, output_error=error.value) if error else quality


def _judge(metric: Metric, part: _Part) -> np.ndarray:
    """A number per image by a metric, float64 (images,)."""
    values = metric(part.outputs, part.target)
    shape = tuple(values.shape) if isinstance(values, Tensor) else None
    if shape != (part.images,):
        given = f"a {type(values).__name__}" if shape is None else f"shape {shape}"
        message = f"your metric gives {given} for {part.images} images"
        raise ConfigError(message, hint="return one number per image, in a tensor")
    numbers: np.ndarray = values.detach().cpu().to(torch.float64).numpy()
    return numbers


def _explain_lost(network: Network, part: _Part, hooks: Hooks, loss: float) -> ConfigError | Diverged:
    """Why a quality would be NaN or infinite: the network's outputs are, or what the caller makes of them."""
    outputs = [tensor for tensor in list_tensors(part.outputs) if tensor.is_floating_point()]
    of_theirs = hooks.metric if math.isfinite(loss) else hooks.loss
    if of_theirs is not None and all(bool(torch.isfinite(tensor).all()) for tensor in outputs):
        what = "your metric" if math.isfinite(loss) else "your loss"
        message = f"{what} gives NaN or infinity for outputs of {network.address} that are finite"
        return ConfigError(message, hint="return finite numbers; a mean over nothing, or a logarithm of 0, is none")
    message = f"{network.address} gives outputs that are NaN or infinite, or too large for a finite loss"
    return Diverged(message, hint="its training diverged: lower the learning rate, or begin with other weights")


def make_quality(name: str, numbers: np.ndarray, loss: float) -> Quality:
    """The mean of a number per image, float64 (images,), with its 95 % interval."""
    are_hits = bool(np.isin(numbers, (0.0, 1.0)).all())
    interval = wilson_interval(int(numbers.sum()), len(numbers)) if are_hits else _mean_interval(numbers)
    return Quality(name, float(numbers.mean()), interval, len(numbers), loss, tuple(numbers.tolist()))


def name_quality(task: Task, metric: Metric | None) -> str:
    """What the mean of a metric's numbers is called; without one, what the task calls that of its own numbers."""
    if metric is None:
        return task.quality
    name = name_hook(metric)
    return "your metric" if name == LAMBDA else name


@dataclass(frozen=True, eq=False)
class _Part:
    """What a network returned for some images of a split, and what it should have."""

    outputs: Outputs
    target: Any
    images: int


def _answer_batches(
    network: Network, dense: Network | None, split: ImageSet, data: Data, batch_size: int
) -> Iterator[_Part]:
    """All images of a split in order, batch by batch.

    Without `dense` the target are the labels, int64 (images,). Everything is in fp32 on the CPU.
    """
    if dense is None:
        require_labels(data, split, "the task")
    ours = _Asked(network)
    theirs = _Asked(dense) if dense else ours
    for start in range(0, len(split), batch_size):
        indices = np.arange(start, min(start + batch_size, len(split)))
        images_read, labels = read_labelled(split, indices)
        pixels = normalise(images_read, data.mean, data.std)
        outputs = ours.answer(pixels)
        target = theirs.answer(pixels) if dense or labels is None else torch.from_numpy(labels)
        yield _Part(outputs, target, len(indices))


def _watch_error(batches: Iterator[_Part], error: OutputError | None) -> Iterator[_Part]:
    """The same batches; where there is an error to measure, it takes each in."""
    for batch in batches:
        if error is not None:
            error.add(batch.outputs, batch.target)
        yield batch


def _tell_judged(batches: Iterator[_Part], images: int, progress: Progress) -> Iterator[_Part]:
    """The same batches; a progress is told how many of all images they had, each time."""
    done = 0
    for batch in batches:
        done += batch.images
        progress("judging", done, images)
        yield batch


def _join_parts(batches: Iterator[_Part], images: int) -> Iterator[_Part]:
    """The same images in parts that are judged at once: one, where the outputs are small; `images` are all of them."""
    held: list[_Part] = []
    size_bytes, done = 0, 0
    for batch in batches:
        held.append(batch)
        size_bytes += sum(tensor.nbytes for tensor in list_tensors((batch.outputs, batch.target)))
        done += batch.images
        if size_bytes >= JUDGED_BYTES or done == images:
            outputs, targets = [each.outputs for each in held], [each.target for each in held]
            yield _Part(join_batches(outputs), join_batches(targets), sum(each.images for each in held))
            held, size_bytes = [], 0


def _fold(network: Network) -> nn.Module:
    """A copy of its module in eval mode, norms folded as far as they can be found."""
    module = copy.deepcopy(network.module).eval()
    try:
        foldable = find_foldable(network)
    except Exception:  # noqa: BLE001 (its own code, which need not run without data)
        return module
    return fold_modules(module, foldable)


class _Asked:
    """A network that is asked batch by batch. Not a value: it remembers how it takes images."""

    def __init__(self, network: Network) -> None:
        self._module = _fold(network)
        self._layout: torch.memory_format | None = None

    def answer(self, pixels: Tensor) -> Outputs:
        """What the module returns for normalised images (images, channels, height, width), on the CPU."""
        there = pixels.to(find_device(self._module))
        if self._layout is None:
            self._layout = choose_layout(self._module, there)
        with torch.inference_mode():
            outputs = self._module(there.contiguous(memory_format=self._layout))
        return map_tensors(Tensor.cpu, convert_to_fp32(outputs))


def compare_in_pairs(a: Quality, b: Quality) -> tuple[float, Interval]:
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
