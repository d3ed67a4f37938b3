"""An exported file against the network it came from: run on its runtime, compared on the same inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from deploy_prune.conversion import example, prepared, tensors_of
from deploy_prune.errors import DataError, ParityFailed
from deploy_prune.runtimes import Runtime, Session
from deploy_prune.values import Artifact, Layout, Network, Parity, Precision

TOLERANCES: Mapping[Precision, float] = {"fp32": 1e-4, "fp16": 2e-2}
"""Relative error that a file may have. fp16 keeps 11 bits (5e-4 per rounding), which add up over some 50 layers."""
RANDOM_INPUTS = 8
BATCH = 8
"""At most. torch runs a depthwise convolution of a single image through a path some ten times slower."""

Images = np.ndarray | torch.Tensor | None
Arrays = tuple[np.ndarray, ...]


def verify(
    network: Network,
    artifact: Artifact,
    *,
    runtime: Runtime,
    images: Images = None,
    seed: int = 0,
) -> Parity:
    """Run the file and the network (fp32, eval) on random inputs and on `images`, and compare every output.

    Args:
        network: what the file was exported from; it is not changed.
        artifact: the file.
        runtime: runs files of that format.
        images: normalised, float, (images, channels, height, width); None or a network of several inputs: random
            inputs alone, which `detail` says.
        seed: of the random inputs.

    Raises:
        DataError: the images do not have the network's input shape.
        InputError: the runtime cannot open the file.
        ParityFailed: the file does not take the network's inputs at all.
    """
    real = _checked(network, images)
    session = runtime.open(Path(artifact.path), threads=1)
    module = prepared(network)
    random = tuple(tensor.numpy() for tensor in example(network, batch=RANDOM_INPUTS, seed=seed))
    batches = artifact.dynamic_batch or _takes_batches(module, network)
    found, tolerance = _Findings(), TOLERANCES[artifact.precision]
    for inputs in (random, *([(real,)] if real is not None else [])):
        for batch in _batches(inputs):
            expected = _torch_outputs(module, batch, size=BATCH if batches else 1)
            found = found.plus(_compared(_file_outputs(session, batch, artifact), expected, tolerance))
    return found.parity(tolerance, images=0 if real is None else len(real))


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


def _checked(network: Network, images: Images) -> np.ndarray | None:
    if images is None or len(images) == 0 or len(network.input_shapes) > 1:
        return None
    array = np.asarray(images, dtype=np.float32)
    if array.shape[1:] != network.input_shape:
        hint = "resize and normalise them as the network's evaluation does, channels first"
        raise DataError(f"images of shape {array.shape[1:]}, the network takes {network.input_shape}", hint=hint)
    return array


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


def _torch_outputs(module: nn.Module, inputs: Arrays, *, size: int) -> Arrays:
    with torch.no_grad():
        parts = [
            tensors_of(module(*(torch.from_numpy(array[start : start + size]) for array in inputs)))
            for start in range(0, len(inputs[0]), size)
        ]
    return tuple(torch.cat(tensors).numpy() for tensors in zip(*parts, strict=True))


def _file_outputs(session: Session, inputs: Arrays, artifact: Artifact) -> Arrays:
    """Outputs of the whole batch: in one run where the file takes any batch, otherwise one by one."""
    in_layout = tuple(_to_layout(array, artifact.layout) for array in inputs)
    size = len(inputs[0]) if artifact.dynamic_batch else 1
    session.resize(size)
    runs = [
        session.run(*(array[start : start + size] for array in in_layout)) for start in range(0, len(inputs[0]), size)
    ]
    return tuple(np.concatenate(parts) for parts in zip(*runs, strict=True))


def _to_layout(array: np.ndarray, layout: Layout) -> np.ndarray:
    if layout == "nchw" or array.ndim < 3:
        return array
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


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
