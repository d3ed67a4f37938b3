"""An exported file against the network it came from: run on its runtime, compared on the same inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from deploy_prune.conversion import example, prepared, tensors_of
from deploy_prune.data import normalise
from deploy_prune.errors import DataError, ParityFailed
from deploy_prune.exporters import PLAIN
from deploy_prune.interface import check_form, random_pixels
from deploy_prune.runtimes import Runtime, Session
from deploy_prune.values import AppForm, Artifact, Network, Parity, Precision

TOLERANCES: Mapping[Precision, float] = {"fp32": 1e-4, "fp16": 2e-2}
"""Relative error that a file may have. fp16 keeps 11 bits (5e-4 per rounding), which add up over some 50 layers."""
RANDOM_INPUTS = 8
BATCH = 8
"""At most. torch runs a depthwise convolution of a single image through a path some ten times slower."""

Images = np.ndarray | torch.Tensor | None
Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class Case:
    """Some inputs and the network's answers, which a file is held against."""

    inputs: Arrays
    """Normalised floats channels first, or bytes (images, height, width, channels) for a file that takes pixels."""
    expected: Arrays
    real: bool
    """Images, not random numbers."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What a network answers in a form; made once, for the files of all formats."""

    network: Network
    form: AppForm
    cases: tuple[Case, ...]


def make_reference(network: Network, images: Images = None, form: AppForm = PLAIN, *, seed: int = 0) -> Reference:
    """Run the network (fp32, eval) on random inputs, one alone and a batch, and on the images.

    Args:
        network: it is not changed.
        images: bytes (images, height, width, channels), or normalised floats (images, channels, height, width); None
            or a network of several inputs: random inputs alone.
        form: what apps pass in and get back. Nothing of the network in that form runs here: pixels are normalised, and
            scores made probabilities, as training does it.
        seed: of the random inputs.

    Raises:
        ConfigError: the network cannot take that form.
        DataError: the images do not have the network's input shape.
        ExportFailed: see `prepared`.
    """
    module = prepared(network)
    with torch.no_grad():
        outputs = [tuple(tensor.shape) for tensor in tensors_of(module(*example(network)))]
    check_form(network, form, outputs)
    size = BATCH if _takes_batches(module, network) else 1
    random = _random(network, form, seed)
    blocks = [(tuple(array[:1] for array in random), False), (tuple(array[1:] for array in random), False)]
    if (real := _images(network, form, images)) is not None:
        blocks += [(batch, True) for batch in _batches((real,))]
    cases = (Case(inputs, _answers(module, inputs, form, size=size), real) for inputs, real in blocks)
    return Reference(network, form, tuple(cases))


def verify(reference: Reference, artifact: Artifact, *, runtime: Runtime) -> Parity:
    """Run the file on the inputs of the reference and compare every output.

    Raises:
        InputError: the runtime cannot open the file.
        ParityFailed: the file does not take the network's inputs at all.
    """
    session = runtime.open(Path(artifact.path), threads=1)
    found, tolerance = _Findings(), TOLERANCES[artifact.precision]
    for case in reference.cases:
        found = found.plus(_compared(_file_outputs(session, case.inputs, artifact), case.expected, tolerance))
    return found.parity(tolerance, images=sum(len(case.inputs[0]) for case in reference.cases if case.real))


@dataclass(frozen=True)
class _Findings:
    """What the comparisons so far have shown."""

    inputs: int = 0
    max_error: float = 0.0
    same: int = 0
    ties: int = 0
    finite: bool = True
    classes: bool = True

    def plus(self, other: _Findings) -> _Findings:
        return _Findings(
            inputs=self.inputs + other.inputs,
            max_error=max(self.max_error, other.max_error),
            same=self.same + other.same,
            ties=self.ties + other.ties,
            finite=self.finite and other.finite,
            classes=self.classes and other.classes,
        )

    def parity(self, tolerance: float, *, images: int) -> Parity:
        agreement = self.same / self.inputs
        notes = [
            f"{self.inputs - images} random inputs" + (f", {images} images" if images else " alone, no real images"),
            "" if self.finite else "outputs that are not finite",
            "" if self.classes else "no class scores: top-1 not compared",
        ]
        return Parity(
            passed=self.finite and self.max_error <= tolerance and self.same == self.inputs,
            # JSON has no infinity; a file with such outputs differs without bound
            max_error=min(self.max_error, float(np.finfo(np.float32).max)),
            tolerance=tolerance,
            agreement=agreement,
            ties=self.ties,
            images=images,
            detail="; ".join(note for note in notes if note),
        )


def _random(network: Network, form: AppForm, seed: int) -> Arrays:
    if form.bake:
        return (random_pixels(network, batch=RANDOM_INPUTS, seed=seed).movedim(1, -1).numpy(),)
    return tuple(tensor.numpy() for tensor in example(network, batch=RANDOM_INPUTS, seed=seed))


def _images(network: Network, form: AppForm, images: Images) -> np.ndarray | None:
    """The images as a case has them."""
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
        return _normalised(array, form).numpy()
    return array if are_bytes else array.astype(np.float32, copy=False)


def _normalised(pixels: np.ndarray, form: AppForm) -> torch.Tensor:
    if form.normalisation is None:
        raise DataError("images are bytes, and their mean and std are not known", hint="give normalised floats")
    return normalise(pixels, form.normalisation.mean, form.normalisation.std)


def _batches(inputs: Arrays) -> Iterator[Arrays]:
    """Parts of nearly equal size, so that no lone image is left over."""
    parts = -(-len(inputs[0]) // BATCH)
    return zip(*(np.array_split(array, parts) for array in inputs), strict=True)


def _takes_batches(module: nn.Module, network: Network) -> bool:
    """Whether the network has no batch size of 1 baked into its forward; one that has is run image by image."""
    try:
        with torch.no_grad():
            outputs = tensors_of(module(*example(network, batch=2)))
    except RuntimeError:  # what torch raises for shapes that do not fit; any other fault shows in the run itself
        return False
    return all(tensor.ndim > 0 and len(tensor) == 2 for tensor in outputs)


def _answers(module: nn.Module, inputs: Arrays, form: AppForm, *, size: int) -> Arrays:
    tensors = (_normalised(inputs[0], form),) if form.bake else tuple(map(torch.from_numpy, inputs))
    with torch.no_grad():
        parts = [
            tensors_of(module(*(tensor[start : start + size] for tensor in tensors)))
            for start in range(0, len(tensors[0]), size)
        ]
    outputs = (torch.cat(part) for part in zip(*parts, strict=True))
    return tuple((output.softmax(1) if form.softmax else output).numpy() for output in outputs)


def _file_outputs(session: Session, inputs: Arrays, artifact: Artifact) -> Arrays:
    """Outputs of the whole batch: in one run where the file takes any batch, otherwise one by one."""
    pairs = zip(inputs, session.inputs, strict=True)
    taken = [np.ascontiguousarray(_as_taken(array, artifact), dtype=spec.dtype) for array, spec in pairs]
    size = len(inputs[0]) if artifact.dynamic_batch else 1
    session.resize(size)
    runs = [session.run(*(array[start : start + size] for array in taken)) for start in range(0, len(inputs[0]), size)]
    return tuple(np.concatenate(parts) for parts in zip(*runs, strict=True))


def _as_taken(array: np.ndarray, artifact: Artifact) -> np.ndarray:
    """An image input in the file's layout."""
    have = "nhwc" if artifact.baked else "nchw"
    if have == artifact.layout or array.ndim < 3:
        return array
    source, target = (1, -1) if have == "nchw" else (-1, 1)
    return np.moveaxis(array, source, target)


def _compared(found: Arrays, expected: Arrays, tolerance: float) -> _Findings:
    """The worst over outputs; top-1 is that of the first output, if it is one row of class scores per input.

    Raises:
        ParityFailed: the outputs are not even of the same shapes.
    """
    shapes = [array.shape for array in found], [array.shape for array in expected]
    if shapes[0] != shapes[1]:
        raise ParityFailed(f"the file returns {shapes[0]}, the network {shapes[1]}")
    inputs = len(expected[0])
    pairs = [
        (a.reshape(inputs, -1).astype(np.float64), b.reshape(inputs, -1)) for a, b in zip(found, expected, strict=True)
    ]
    if not all(np.isfinite(a).all() and np.isfinite(b).all() for a, b in pairs):
        return _Findings(inputs=inputs, max_error=float("inf"), finite=False)
    error = max(float(_relative_errors(a, b).max()) for a, b in pairs)
    if expected[0].ndim != 2 or expected[0].shape[1] < 2:
        return _Findings(inputs=inputs, max_error=error, same=inputs, classes=False)
    differs, tie = _top1(*pairs[0], tolerance)
    return _Findings(inputs=inputs, max_error=error, same=int((~differs | tie).sum()), ties=int(tie.sum()))


def _relative_errors(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Per row max |found - expected| / max |expected|; where the network says all zeros any difference is infinite."""
    difference = np.abs(found - expected).max(axis=1)
    scale = np.abs(expected).max(axis=1)
    return np.where(difference == 0, 0.0, difference / np.where(scale == 0, np.finfo(np.float64).tiny, scale))


def _top1(found: np.ndarray, expected: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Per row: whether the best class differs, and whether that is a tie (the network hardly tells them apart)."""
    rows = np.arange(len(expected))
    theirs, ours = found.argmax(axis=1), expected.argmax(axis=1)
    margin = expected[rows, ours] - expected[rows, theirs]
    differs = theirs != ours
    return differs, differs & (margin <= tolerance * np.abs(expected).max(axis=1))
