"""What a network itself answers: the inputs and outputs that every exported file of it is held against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from deploy_prune.errors import DataError
from deploy_prune.exporting.app_interface import check_form, draw_pixels, keep_fitting_labels
from deploy_prune.exporting.converter import clean_copy, make_example
from deploy_prune.exporting.exporters import PLAIN
from deploy_prune.sources.data import normalise
from deploy_prune.train.outputs import list_tensors
from deploy_prune.train.tasks import Task
from deploy_prune.train.tasks.classification import Classification
from deploy_prune.values import FP32, AppForm, Network, look_up_precision

CLASSIFICATION = Classification()
RANDOM_INPUTS = 8
"""How many random inputs a file is run on."""
BATCH = 8
"""The largest batch of a file that takes any."""
TORCH_BATCH = 2
"""torch runs a depthwise convolution of a single image through a path some ten times slower, and a batch of 8 at 224
pixels no longer fits the caches (MobileNetV2: twice the time per image)."""

Images = np.ndarray | torch.Tensor | None
"""Bytes (images, height, width, channels), or normalised floats (images, channels, height, width); None: no images."""
Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class Inputs:
    """Inputs that are run at once."""

    arrays: Arrays
    """Normalised floats channels first, or bytes (images, height, width, channels) for a file that takes pixels."""
    real: bool
    """Whether they are images, not random numbers."""


@dataclass(frozen=True, eq=False)
class Questions:
    """A network in the form that an app meets it, and what to ask it."""

    network: Network
    """The network, which is not changed."""
    form: AppForm
    """What apps pass in and get back."""
    inputs: tuple[Inputs, ...]
    """What it is asked: a random input alone, a batch of them, and the images in batches of up to 8."""
    task: Task = CLASSIFICATION
    """What the network is for, and so which answers are compared."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What the network answers; made once, for the files of all formats."""

    questions: Questions
    """What it was asked."""
    expected: tuple[Arrays, ...]
    """The outputs for each of `questions.inputs`: an array (inputs, ...) per output."""


def make_questions(
    network: Network, images: Images = None, form: AppForm = PLAIN, task: Task = CLASSIFICATION, *, seed: int = 0
) -> Questions:
    """Random inputs, one alone and a batch, and the images. Refuses what cannot work, before anything is exported.

    Args:
        network: it is not changed.
        images: bytes (images, height, width, channels), or normalised floats (images, channels, height, width); None
            or a network of several inputs: random inputs alone.
        form: what apps pass in and get back.
        task: what the network is for.
        seed: of the random inputs.

    Raises:
        ConfigError: the network cannot take that form.
        DataError: the images do not have the network's input shape.
        ExportFailed: see `clean_copy`.
    """
    module = clean_copy(network)
    with torch.no_grad():
        outputs = [tuple(tensor.shape) for tensor in list_tensors(module(*make_example(network)))]
    check_form(network, form, outputs)
    random = _draw_random(network, form, seed)
    inputs = [Inputs(tuple(array[part] for array in random), real=False) for part in (slice(1), slice(1, None))]
    if (real := _take_images(network, form, images)) is not None:
        inputs += [Inputs(batch, real=True) for batch in _split_into_batches((real,))]
    return Questions(network, form, tuple(inputs), task)


def make_questions_by_data(network: Network, images: Images, form: AppForm, task: Task) -> Questions:
    """Do what `make_questions` does with a form that the data say: labels that the network does not score are left out.

    Raises:
        ConfigError, DataError, ExportFailed: as `make_questions` does.
    """
    return make_questions(network, images, keep_fitting_labels(network, form), task)


def answer(questions: Questions) -> Reference:
    """Run the network (fp32, eval) on the inputs.

    Nothing of the network in its form runs here: pixels are normalised, and scores made probabilities, as training
    does it.
    """
    network, form = questions.network, questions.form
    module = clean_copy(network)
    size = TORCH_BATCH if _takes_batches(module, network) else 1
    return Reference(
        questions, tuple(_answer_all(module, inputs.arrays, form, size=size) for inputs in questions.inputs)
    )


def _draw_random(network: Network, form: AppForm, seed: int) -> Arrays:
    if form.bake:
        return (draw_pixels(network, batch=RANDOM_INPUTS, seed=seed).movedim(1, -1).numpy(),)
    return tuple(tensor.numpy() for tensor in make_example(network, batch=RANDOM_INPUTS, seed=seed))


def _take_images(network: Network, form: AppForm, images: Images) -> np.ndarray | None:
    """The images as `Inputs` has them."""
    if images is None or len(images) == 0 or len(network.input_shapes) > 1:
        return None
    array = np.asarray(images)
    are_bytes = array.dtype == np.uint8
    if form.bake and not are_bytes:
        raise DataError("a file with baked preprocessing is verified on bytes", hint="give the images as uint8")
    shape = (*array.shape[3:], *array.shape[1:3]) if are_bytes else array.shape[1:]
    if shape != network.input_shape:
        hint = "resize and normalise them as the network's evaluation does, channels first"
        raise DataError(f"images of shape {shape}, the network takes {network.input_shape}", hint=hint)
    if are_bytes and not form.bake:
        return _normalise(array, form).numpy()
    return array if are_bytes else array.astype(np.float32, copy=False)


def _normalise(pixels: np.ndarray, form: AppForm) -> torch.Tensor:
    if form.normalisation is None:
        hint = "give normalised floats, or the form's normalisation (mean and std of pixels from 0 to 1)"
        raise DataError("the images are bytes, and the mean and std to normalise them by are not known", hint=hint)
    return normalise(pixels, form.normalisation.mean, form.normalisation.std)


def _split_into_batches(inputs: Arrays) -> Iterator[Arrays]:
    """Split inputs into parts of nearly equal size, so that no lone image is left over."""
    parts = -(-len(inputs[0]) // BATCH)
    return zip(*(np.array_split(array, parts) for array in inputs), strict=True)


def _takes_batches(module: nn.Module, network: Network) -> bool:
    """Whether the network answers each input of a batch as it does alone; one that does not is run input by input.

    It may have a batch size of 1 baked into its forward, or mix the inputs of a batch (`x.max()`).
    """
    examples = make_example(network, batch=2)
    try:
        with torch.no_grad():
            whole = list_tensors(module(*examples))
            alone = [list_tensors(module(*(tensor[i : i + 1] for tensor in examples))) for i in range(2)]
    except RuntimeError:  # what torch raises for shapes that do not fit; any other fault shows in the run itself
        return False
    if not all(tensor.ndim > 0 and len(tensor) == 2 for tensor in whole):
        return False
    apart = [torch.cat(tensors) for tensors in zip(*alone, strict=True)]
    tolerance = look_up_precision(FP32).tolerance
    return all(
        one.shape == other.shape and bool((one - other).abs().max() <= tolerance * other.abs().max())
        for one, other in zip(whole, apart, strict=True)
    )


def _answer_all(module: nn.Module, inputs: Arrays, form: AppForm, *, size: int) -> Arrays:
    tensors = (_normalise(inputs[0], form),) if form.bake else tuple(map(torch.from_numpy, inputs))
    with torch.no_grad():
        parts = [
            list_tensors(module(*(tensor[start : start + size] for tensor in tensors)))
            for start in range(0, len(tensors[0]), size)
        ]
    outputs = (torch.cat(part) for part in zip(*parts, strict=True))
    return tuple((output.softmax(1) if form.softmax else output).numpy() for output in outputs)
