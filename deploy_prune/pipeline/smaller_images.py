"""The dense network on smaller images: often the cheaper lever, and so a control of every front."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from deploy_prune import plugins
from deploy_prune.budget.latency.model import LatencyModel
from deploy_prune.budget.latency.place import format_of
from deploy_prune.budget.latency.table import Sample
from deploy_prune.budget.latency.timer import timer
from deploy_prune.errors import DataError, DeployPruneError, ExportFailed, TraceError, WorkerDied
from deploy_prune.exporting.file_bytes import export_bytes
from deploy_prune.formats.templates import TEMPLATES
from deploy_prune.graph import trace
from deploy_prune.graph.recount import recount
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.pipeline.priced import timing_device
from deploy_prune.pipeline.real_file import RealFiles
from deploy_prune.pipeline.run_images import read_run_images
from deploy_prune.run_folder import RunFolder
from deploy_prune.sources import checkpoint
from deploy_prune.sources.weights import replace_weights
from deploy_prune.timing.devices import target_on
from deploy_prune.train.accelerator import choose_accelerator, move_network
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.loop import fit
from deploy_prune.train.outputs import list_tensors
from deploy_prune.train.recipe import Hooks
from deploy_prune.train.tasks import choose_task
from deploy_prune.values import Comparison, Count, Data, Interval, Network, Progress, Quality, quiet

SMALLER = (192 / 224, 160 / 224, 128 / 224)
"""Sides of the input that are tried, as shares of its own: 224 -> 192, 160, 128."""
SIDE_MULTIPLE = 4
"""Sides are multiples of this, in pixels."""
STATE = "training.safetensors"


@dataclass(frozen=True)
class SmallerRun:
    """What became of one size."""

    input_shape: tuple[int, int, int]
    reason: str = ""
    """Why there is nothing else: the network does not take this size."""
    count: Count | None = None
    val: Quality | None = None
    test: Quality | None = None
    ratio: float | None = None
    """Time / time at its own size, on the first of the run's thread counts."""
    interval: Interval | None = None


@dataclass(frozen=True)
class SmallerInput:
    """The dense network on smaller images, timed as it is."""

    input_shape: tuple[int, ...]
    measured_ms: float | None
    interval_ms: Interval | None
    reason: str = ""
    """Why it was not measured."""


def smaller_shapes(shape: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Shapes of smaller images to try (channels, height, width): of 224 pixels 192, 160 and 128, of others the like."""
    channels, *sides = shape
    tried = (
        tuple(max(SIDE_MULTIPLE, SIDE_MULTIPLE * round(share * side / SIDE_MULTIPLE)) for side in sides)
        for share in SMALLER
    )
    for height, width in dict.fromkeys(tried):
        if height < sides[0] and width < sides[1]:
            yield channels, height, width


def measure_smaller(
    network: Network, model: LatencyModel, files: RealFiles, *, progress: Progress = quiet
) -> tuple[SmallerInput, ...]:
    """Time the dense network on smaller images, unless its latency table has that: often the cheaper lever.

    Args:
        network: the dense one.
        model: of this network on the device that files are timed on.
        files: writes and times the files, and keeps what they take.
        progress: told while files are written.
    """
    shapes = tuple(smaller_shapes(network.input_shape))
    samples = {sample.input_shape: sample for sample in model.profile.samples if sample.input_shape}
    format_ = plugins.load(TEMPLATES, format_of(model.target.runtime))
    contents: dict[tuple[int, ...], bytes] = {}
    failed: dict[tuple[int, ...], str] = {}
    missing = [shape for shape in shapes if shape not in samples]
    for number, shape in enumerate(missing):
        progress("smaller inputs", number, len(missing), "converting")
        smaller = dataclasses.replace(network, input_shapes=(shape,))
        try:
            trace(smaller)  # a flattened image leaves a linear layer no choice
            contents[shape] = files.write(smaller, format_.exporter)
        except WorkerDied:
            raise
        except DeployPruneError as error:
            failed[shape] = error.message.splitlines()[0]
        progress("smaller inputs", number + 1, len(missing))
    if contents:
        dense = files.write(network, format_.exporter)
        with timer(dense, format_.suffix, model.target, device=files.device) as timed:
            for number, (size, content) in enumerate(contents.items(), start=1):
                samples[size] = _sample(model, size, timed(content))
                files.store.add(model.profile, samples[size])
                progress("smaller inputs timed", number, len(contents))
    return tuple(_row(shape, samples.get(shape), model.profile.reference, failed.get(shape, "")) for shape in shapes)


def _sample(model: LatencyModel, shape: tuple[int, ...], comparison: Comparison) -> Sample:
    widths = tuple(group.width for group in model.profile.drawing.groups)
    return Sample(widths, comparison.ratio, comparison.interval, input_shape=shape, comparison=comparison)


def _row(shape: tuple[int, ...], sample: Sample | None, reference_ms: float, reason: str) -> SmallerInput:
    if sample is None:
        return SmallerInput(shape, None, None, reason)
    low, high = sample.interval
    return SmallerInput(shape, sample.ratio * reference_ms, (low * reference_ms, high * reference_ms))


def train_smaller(config: RunConfig, shape: tuple[int, int, int], folder: RunFolder, hooks: Hooks) -> SmallerRun:
    """Fine-tune the network at a size by the run's recipe, judge it, export it and time it against its own size.

    Without labels it is held against the dense network on the whole images, which it is given made smaller.

    Args:
        config: of a run whose model is a folder with the dense network.
        shape: channels, height, width.
        folder: to go on from.
        hooks: the caller's own.
    """
    whole = checkpoint.load(Path(config.model))
    small = dataclasses.replace(whole, input_shapes=(shape,))
    try:
        trace(small)  # a flattened image leaves a linear layer no choice
        lesson = prepare_lesson(small, whole, config, hooks, folder.path.parent)
    except (TraceError, DataError) as error:
        return SmallerRun(shape, error.message.splitlines()[0])
    pupil, val, test = train_and_judge(lesson, config, folder)
    small = pupil if lesson.pupil is small else replace_weights(small, pupil.module.state_dict())
    try:
        ratio, interval = _time(whole, small, config)
    except ExportFailed as error:
        return SmallerRun(shape, error.message.splitlines()[0])
    return SmallerRun(shape, "", recount(small), val, test, ratio, interval)


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a network on smaller images is trained on and judged by."""

    pupil: Network
    """The network, or without labels a copy that is given whole images and makes them smaller by itself."""
    data: Data
    """The images in the size that the pupil is given."""
    hooks: Hooks
    """The caller's, with the task, and without labels with the dense network on whole images as the teacher."""


def prepare_lesson(small: Network, whole: Network, config: RunConfig, hooks: Hooks, front: Path) -> Lesson:
    """The labels of smaller images, or without any the dense network's outputs for whole ones.

    The images are those that the run in the folder `front` began with.

    Raises:
        DataError: the images cannot be read at that size, or the outputs have other shapes there.
    """
    (_, height, width), (_, *own) = small.input_shape, whole.input_shape
    data = read_run_images(config.data, config.data_options, (height, width), [front])
    task = choose_task(config.task, data, whole.classes)
    hooks = dataclasses.replace(hooks, task=task)
    if task.needs_labels:
        return Lesson(small, data, hooks)
    data = read_run_images(config.data, config.data_options, (own[0], own[1]), [front])
    return Lesson(take_whole_images(small, whole), data, dataclasses.replace(hooks, teacher=whole))


def train_and_judge(lesson: Lesson, config: RunConfig, folder: RunFolder) -> tuple[Network, Quality, Quality]:
    """The pupil fine-tuned by the run's recipe, and its quality on the validation and on the test images."""
    pupil, data, hooks = move_network(lesson.pupil, choose_accelerator(config.accelerator)), lesson.data, lesson.hooks
    if config.finetune is not None:
        pupil = fit(pupil, data, config.finetune, hooks=hooks, checkpoint=folder.path / STATE,
                    progress=folder.progress)  # fmt: skip
    val, test = (evaluate(pupil, split, data, hooks=hooks) for split in (data.val, data.test))
    return pupil, val, test


def take_whole_images(small: Network, whole: Network) -> Network:
    """A copy of a network that makes whole images smaller before it looks at them, and so answers as `whole` is asked.

    Its weights have the same names.

    Raises:
        DataError: the shapes of its outputs follow the size of its images, so that none can be held against another.
    """
    shapes = [_output_shapes(network) for network in (small, whole)]
    if shapes[0] != shapes[1]:
        message = f"outputs of shapes {shapes[0]} cannot be held against those of whole images, {shapes[1]}"
        raise DataError(message, hint="take images with labels, or front without controls (--no-controls)")
    module = copy.deepcopy(small.module)
    module.register_forward_pre_hook(partial(_resize, sides=small.input_shape[1:]))
    return dataclasses.replace(small, module=module, input_shapes=whole.input_shapes)


def _resize(module: nn.Module, images: tuple[Tensor], sides: tuple[int, ...]) -> Tensor:
    """The images (images, channels, height, width) at these sides."""
    del module
    return functional.interpolate(images[0], size=sides, mode="bilinear", antialias=True)


def _output_shapes(network: Network) -> list[tuple[int, ...]]:
    """The shapes of what a network returns for one image."""
    with torch.inference_mode():
        return [tuple(tensor.shape) for tensor in list_tensors(network.module(torch.zeros(1, *network.input_shape)))]


def _time(whole: Network, small: Network, config: RunConfig) -> tuple[float, Interval]:
    format_ = plugins.load(TEMPLATES, format_of(config.runtime))
    dense, smaller = (export_bytes(network, format_.exporter) for network in (whole, small))
    device = timing_device(config)
    with timer(dense, format_.suffix, target_on(device, config.runtime, config.threads[0]), device=device) as timed:
        comparison = timed(smaller)
    return comparison.ratio, comparison.interval
