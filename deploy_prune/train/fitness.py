"""How good a candidate is, as fast as it can be found out: cut, refitted or tuned, its norms measured anew, judged.

What all candidates share (weights, images as tensors) is prepared once; a candidate is its kept units alone.
"""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from deploy_prune.errors import ConfigError
from deploy_prune.graph.fold_norms import find_foldable, fold_modules
from deploy_prune.graph.surgery import cut, kept_indices
from deploy_prune.sources.data import check_fit, normalise, read_labelled
from deploy_prune.train.accelerator import find_device, fork_generators
from deploy_prune.train.batches import draw_epoch, draw_stratified
from deploy_prune.train.evaluation import name_quality
from deploy_prune.train.few_steps import tune
from deploy_prune.train.layout import choose_layout
from deploy_prune.train.recalibration import draw_norm_batches, measure_norms
from deploy_prune.train.recipe import OURS, Batch, Hooks, Loss, Metric, Step, plain_step
from deploy_prune.train.refit.dense_map import DenseMap, apply_maps
from deploy_prune.train.refit.settings import RefitSettings
from deploy_prune.train.refit.walk import CutNetwork, draw_refit_images, refitted
from deploy_prune.train.targets import add_target, find_task, move_batch
from deploy_prune.train.tasks.classification import Classification
from deploy_prune.values import TOP_1, ChannelGraph, Data, Keep, Network

BATCH_SIZE = 50
"""Images per batch in judging and in measuring norms: what a batch leaves behind stays in a core's cache."""
FLOAT_BYTES = 4
BRIEF = RefitSettings(ridges=(0.1,))
"""A refit that compares candidates: one ridge is enough, as no two are far apart."""
POOL = 5_000
"""Training images that steps go round in, at the most: they stay in memory, of every worker."""


@dataclass(frozen=True)
class Exam:
    """What a candidate goes through."""

    images: int = 1000
    """How many validation images it is judged on, stratified, the same for all candidates."""
    norm_images: int = 500
    """How many training images norms are measured on; 0: norms stay as they were in the dense network."""
    steps: int = 0
    """How many steps it is trained before it is judged, on the same batches for all candidates."""
    refit_images: int = 0
    """How many training images its layers are refitted on, before steps and norms; 0: they are not."""
    lr: float = 0.01
    batch_size: int = 64
    """How many images a step takes."""
    pool_bytes: int = 2**30
    """The memory that the training images may take, which every worker keeps as floats."""


@dataclass(frozen=True, eq=False)
class Examiner:
    """All that candidates share."""

    network: Network
    graph: ChannelGraph
    lr: float
    steps: int
    judged_on: tuple[Batch, ...]
    norms_on: tuple[Tensor, ...]
    tuned_on: tuple[Batch, ...]
    foldable: tuple[tuple[str, str], ...]
    """Convolutions and the norms that can be folded into them, by their names."""
    loss: Loss = functional.cross_entropy
    step: Step = plain_step
    metric: Metric = Classification().numbers
    maps: tuple[DenseMap, ...] = ()
    """What layers need to make up for inputs that go; empty: cut layers keep their weights."""
    refit_on: Tensor | None = None
    """The images that layers are refitted on, one layer after another; None: they are not."""
    refit_by: RefitSettings = BRIEF
    """How they are refitted."""
    layout: torch.memory_format = torch.channels_last
    """How images and weights lie in memory: else every convolution reorders its input."""
    quality: str = TOP_1
    """What the mean of the metric's numbers is called."""


@dataclass(frozen=True)
class Fitness:
    """What came of a candidate."""

    loss: float
    """Mean over the validation images, the task's or the user's own; infinite where it is no number."""
    value: float
    """The quality on the validation images: the mean of the task's numbers, or of the user's metric; 0 where the loss
    is no number."""
    seconds: float


def prepare_examiner(
    network: Network, graph: ChannelGraph, data: Data, exam: Exam, *, seed: int = 0, hooks: Hooks = OURS
) -> Examiner:
    """Read and normalise once what every candidate needs, and put it where the network lies.

    Without labels candidates are trained on and judged by what this network itself returns.

    Raises:
        DataError: network and data do not belong together.
    """
    check_fit(network, data)
    task = find_task(network, hooks, data)
    norms = draw_norm_batches(data, images=exam.norm_images, seed=seed, about=BATCH_SIZE) if exam.norm_images else ()
    refit = replace(BRIEF, images=exam.refit_images or BRIEF.images, seed=seed)
    device = find_device(network.module)
    first = normalise(data.val.read(np.arange(1)), data.mean, data.std).to(device)
    layout = choose_layout(copy.deepcopy(network.module).eval(), first)
    place = partial(_place, device=device, layout=layout, dense=None if task.needs_labels else network)
    return Examiner(
        network,
        graph,
        exam.lr,
        exam.steps,
        judged_on=tuple(map(place, _list_judged(data, exam.images, seed))),
        norms_on=tuple(place(batch).images for batch in norms),
        tuned_on=tuple(map(place, _list_tuned(data, exam, seed))),
        foldable=find_foldable(network),
        refit_on=draw_refit_images(data, refit) if exam.refit_images else None,
        refit_by=refit,
        layout=layout,
        loss=hooks.loss or task.loss,
        step=hooks.step or plain_step,
        metric=hooks.metric or task.numbers,
        quality=name_quality(task, hooks.metric),
    )


def _place(batch: Batch, device: torch.device, layout: torch.memory_format, dense: Network | None) -> Batch:
    """The batch with its target, on a device."""
    there = move_batch(batch, device)
    return add_target(Batch(there.images.contiguous(memory_format=layout), there.target), dense)


def _list_judged(data: Data, images: int, seed: int) -> Iterator[Batch]:
    chosen = draw_stratified(data.val, images, seed=seed)
    for start in range(0, len(chosen), BATCH_SIZE):
        pixels, labels = read_labelled(data.val, chosen[start : start + BATCH_SIZE])
        yield Batch(normalise(pixels, data.mean, data.std), None if labels is None else torch.from_numpy(labels))


def _list_tuned(data: Data, exam: Exam, seed: int) -> Iterator[Batch]:
    room = exam.pool_bytes // (FLOAT_BYTES * math.prod(data.image_shape))
    wanted = min(exam.steps * exam.batch_size, POOL, room, len(data.train))
    if wanted < 2:
        return
    chosen = np.random.default_rng(seed).permutation(len(data.train))[:wanted]
    yield from draw_epoch(data, chosen, batch_size=min(exam.batch_size, wanted), seed=seed)


def judge_candidate(prepared: Examiner, keep: Keep) -> Fitness:
    """Judge the network that keeps these units; the network itself is not touched, and nothing is drawn.

    Raises:
        ConfigError: the user's metric gives no number where the loss is one.
    """
    began = time.monotonic()
    small = _cut(prepared, keep)
    small.module.to(memory_format=prepared.layout)
    if prepared.steps:
        batches = itertools.islice(itertools.cycle(prepared.tuned_on), prepared.steps)
        with fork_generators(find_device(small.module)):
            torch.manual_seed(0)
            tune(small, batches, steps=prepared.steps, lr=prepared.lr, loss=prepared.loss, step=prepared.step)
    module = small.module
    if prepared.norms_on:
        module = measure_norms(module, prepared.norms_on)
    folded = fold_modules(module, prepared.foldable)
    loss, value = judge(folded, prepared.judged_on, prepared.loss, prepared.metric)
    if not math.isfinite(loss):  # whatever NaN counts as by the metric, it is no answer
        return Fitness(math.inf, 0.0, time.monotonic() - began)
    if not math.isfinite(value):
        message = f"your metric gives NaN or infinity for a candidate whose loss is {loss:g}"
        raise ConfigError(message, hint="return finite numbers; a mean over nothing, or a logarithm of 0, is none")
    return Fitness(loss, value, time.monotonic() - began)


def _cut(prepared: Examiner, keep: Keep) -> Network:
    """The network that keeps these units, with the weights that it starts from."""
    small, kept = cut(prepared.network, prepared.graph, keep), kept_indices(prepared.graph, keep)
    if prepared.maps:
        apply_maps(small, kept, prepared.maps)
    if prepared.refit_on is None:
        return small
    against = CutNetwork(small, prepared.network, prepared.graph, kept)
    return refitted(against, prepared.refit_on, settings=prepared.refit_by)[0]


def judge(module: nn.Module, batches: Sequence[Batch], loss: Loss, metric: Metric) -> tuple[float, float]:
    """The means of the loss and of the metric over all images of the batches, in eval mode."""
    module.eval()
    losses, numbers, images = 0.0, 0.0, 0
    with torch.inference_mode():
        for batch in batches:
            outputs = module(batch.images)
            losses += float(loss(outputs, batch.target)) * len(batch.images)
            numbers += float(metric(outputs, batch.target).double().sum())
            images += len(batch.images)
    return losses / images, numbers / images
