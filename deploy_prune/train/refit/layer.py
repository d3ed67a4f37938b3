"""One layer's refit: weights for every ridge and target, and the best of them on held-out images."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deploy_prune.graph.flat_network import Tensors
from deploy_prune.train.refit.forms import Rows, as_blocks, from_blocks, join_rows, sample_rows
from deploy_prune.train.refit.moments import Moments, measure_moments
from deploy_prune.train.refit.settings import RefitSettings
from deploy_prune.train.refit.solve import Solution, estimate_condition, solve
from deploy_prune.train.refit.twins import LayerValues, RefitLayer
from deploy_prune.values import LayerRefit

FITS = 1e-10
"""A layer whose held-out error is less gives what it should already."""
REFERENCE, CORRECTED = "reference", "corrected"
FLAT = 1e-2
"""A norm's slope below this share of its largest: what a stream has lost cannot be made up for through it."""
ROWS_PER_INPUT = 128
"""The rows that weights are fitted to for each input of a block, at most: their choice adds about one over it to the
error, as a share."""
LEAST_POSITIONS = 8
"""The positions of each image that a layer is looked at, at least, if it has as many."""
SPREAD = 1_000_003
"""What seeds of layers and batches are made with."""


@dataclass(frozen=True)
class ImageSplit:
    """Which batches weights are fitted to, and which judge them."""

    fitted: tuple[int, ...]
    held_out: tuple[int, ...]


Reader = Callable[[Tensors], Callable[[int], LayerValues]]
"""The cut network's tensors -> the number of a batch -> what the layer reads and should give."""
Changed = Mapping[str, Tensor]
"""The tensors of the cut network that have new values."""


@dataclass(frozen=True, eq=False)
class LayerTask:
    """What the refit of one layer needs."""

    layer: RefitLayer
    number: int
    """Its place among the layers, which its positions are drawn by."""
    read: Reader
    tensors: Tensors
    """The cut network's tensors, refitted so far."""
    mask: Tensor | None
    """Where its weight may be other than 0."""
    split: ImageSplit
    settings: RefitSettings


@dataclass(frozen=True, eq=False)
class _Candidate:
    """New values of a layer's tensors."""

    solution: Solution
    changed: Changed
    error: float
    corrected: bool


def refit_layer(task: LayerTask) -> tuple[LayerRefit, Changed]:
    """Find the weights that are best on held-out images; nothing is changed where those that are there are as good."""
    began = time.monotonic()
    values = task.read(task.tensors)
    judged = join_rows([_rows(task, values, number) for number in task.split.held_out])
    before = _error(task, judged, _blocks(task, task.tensors), _constant(task, task.tensors))
    told = LayerRefit(task.layer.name, before)
    if not math.isfinite(before):
        told = replace(told, error_before=None, skipped="what it reads or should give is constant or not finite")
        return replace(told, seconds=time.monotonic() - began), {}
    if before < FITS:
        return replace(told, skipped="it gives what it should already", seconds=time.monotonic() - began), {}
    rows = (_rows(task, values, number) for number in task.split.fitted)
    moments = measure_moments(rows, number=len(task.split.fitted), centred=task.layer.takes_shift)
    best, why = _find_best(task, moments, judged)
    told = replace(told, rows=moments.count, skipped=why, seconds=time.monotonic() - began)
    if best is None:
        return told, {}
    after = best.error if task.layer.calls == 1 else _error_with(task, best.changed)
    kept = after < before
    told = replace(
        told, error_after=after, ridge=best.solution.ridge, condition=estimate_condition(moments, best.solution.ridge),
        kept=kept,
        corrected=best.corrected, seconds=time.monotonic() - began,
    )  # fmt: skip
    return told, best.changed if kept else {}


def _find_best(task: LayerTask, moments: Moments, judged: Rows) -> tuple[_Candidate | None, str]:
    """The new weights with the least held-out error; None: there are none, and why."""
    if moments.trouble:
        return None, moments.trouble
    old = _blocks(task, task.tensors)
    ways = len(_ways(task))
    support = None if task.mask is None else as_blocks(task.mask, task.layer.form).repeat(1, ways, 1)
    solutions = solve(moments, old.repeat(1, ways, 1), task.settings.ridges, support=support)
    candidates = [_candidate(task, solution, way, judged) for solution in solutions for way in range(ways)]
    if not candidates:
        return None, "its moments are singular"
    return min(candidates, key=lambda each: each.error), ""


def _candidate(task: LayerTask, solution: Solution, way: int, judged: Rows) -> _Candidate:
    layer, tensors = task.layer, task.tensors
    old = tensors[layer.weight]
    outputs = _blocks(task, tensors).shape[1]
    part = slice(way * outputs, (way + 1) * outputs)
    blocks, offset = solution.weight[:, part].to(old), solution.offset[:, part].to(old)
    changed = {layer.weight: from_blocks(blocks, layer.form, old.shape)}
    if layer.bias is not None and layer.owns_bias:
        changed[layer.bias] = offset.flatten()
    elif layer.norm is not None:
        mean = tensors[layer.norm.mean]
        changed[layer.norm.mean] = mean - (offset - _constant(task, tensors)).flatten().to(mean)
    return _Candidate(solution, changed, _error(task, judged, blocks, offset), _ways(task)[way] == CORRECTED)


def _blocks(task: LayerTask, tensors: Tensors) -> Tensor:
    return as_blocks(tensors[task.layer.weight], task.layer.form)


def _constant(task: LayerTask, tensors: Tensors) -> Tensor:
    """What is added to what the weight gives: shape (blocks, outputs); 0 where the targets lack it too."""
    blocks = _blocks(task, tensors)
    if task.layer.bias is None or not task.layer.takes_shift:
        return blocks.new_zeros(blocks.shape[:2])
    return tensors[task.layer.bias].reshape(blocks.shape[:2])


def _ways(task: LayerTask) -> tuple[str, ...]:
    """The targets that weights are fitted to; the last judges them all."""
    if not task.layer.joins or task.settings.targets == REFERENCE:
        return (REFERENCE,)
    return (CORRECTED,) if task.settings.targets == CORRECTED else (REFERENCE, CORRECTED)


def _rows(task: LayerTask, values: Callable[[int], LayerValues], number: int) -> Rows:
    """A batch's rows, over all calls; the same positions whenever it is asked for."""
    layer, settings, here = task.layer, task.settings, values(number)
    seed = (settings.seed * SPREAD + task.number) * SPREAD + number
    generator = torch.Generator().manual_seed(seed % (1 << 63))
    kernel = () if layer.form.kind == "linear" else task.tensors[layer.weight].shape[2:]
    parts = []
    for given, wanted in here.calls:
        targets = [wanted if way == REFERENCE else _correct(task, wanted, here.lost) for way in _ways(task)]
        if layer.bias is not None and not layer.takes_shift:
            targets = [target - _along_channels(task, task.tensors[layer.bias], target) for target in targets]
        positions = _count_positions(task, len(given))
        parts.append(sample_rows(layer.form, kernel, given, targets, positions=positions, generator=generator))
    return join_rows(parts)


def _count_positions(task: LayerTask, images: int) -> int:
    """How many positions of an image a layer is looked at: a block of few inputs (a depthwise layer's) needs few."""
    needed = ROWS_PER_INPUT * _blocks(task, task.tensors).shape[2] / (images * len(task.split.fitted))
    return min(task.settings.positions, max(LEAST_POSITIONS, math.ceil(needed)))


def _correct(task: LayerTask, wanted: Tensor, lost: Tensor | None) -> Tensor:
    """What the layer should give so that the sum behind it is the reference's, as far as its norm lets it through."""
    assert lost is not None
    norm = task.layer.norm
    if norm is None:
        return wanted + lost
    slope = norm.slope(task.tensors)
    steep = slope.abs() > FLAT * slope.abs().max()
    inverse = torch.where(steep, 1 / torch.where(steep, slope, torch.ones_like(slope)), torch.zeros_like(slope))
    return wanted + lost * _along_channels(task, inverse, lost)


def _along_channels(task: LayerTask, numbers: Tensor, like: Tensor) -> Tensor:
    """One number per channel, shaped so that it meets an output's channels."""
    if task.layer.form.kind == "linear":
        return numbers
    return numbers.reshape(-1, *[1] * (like.dim() - 2))


def _error(task: LayerTask, rows: Rows, blocks: Tensor, constant: Tensor) -> float:
    """The squared error of what these weights give, as a share of the variance of what they should: behind the norm."""
    outputs = blocks.shape[1]
    wanted = rows.outputs[:, :, -outputs:].transpose(0, 1)  # (blocks, rows, outputs)
    given = rows.inputs.transpose(0, 1) @ blocks.transpose(1, 2) + constant[:, None]
    slope = torch.ones_like(constant)
    if task.layer.norm is not None:
        slope = task.layer.norm.slope(task.tensors).reshape(constant.shape)
    weights = slope.square()[:, None]
    variance = (weights * (wanted - wanted.mean(1, keepdim=True)).square()).sum()
    return float((weights * (given - wanted).square()).sum() / variance)


def _error_with(task: LayerTask, changed: Changed) -> float:
    """The held-out error with the new tensors, also in what later calls of the same layer read."""
    now = {**task.tensors, **changed}
    later = replace(task, tensors=now)
    values = task.read(now)
    rows = join_rows([_rows(later, values, number) for number in task.split.held_out])
    return _error(later, rows, _blocks(later, now), _constant(later, now))
