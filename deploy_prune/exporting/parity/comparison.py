"""How far outputs are apart: relative error, top-1 with ties, what is not finite. Numbers alone, no files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deploy_prune.errors import ParityFailed
from deploy_prune.values import Parity

Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Findings:
    """What comparing some outputs has shown."""

    inputs: int = 0
    max_error: float = 0.0
    same: int = 0
    ties: int = 0
    finite: bool = True
    classes: bool = True
    worst: int = 0
    """The input with the largest error."""


def judged(rounds: Sequence[Findings], tolerance: float, *, images: int) -> Parity:
    """The verdict over all comparisons, of which so many inputs were images."""
    inputs, same = sum(each.inputs for each in rounds), sum(each.same for each in rounds)
    max_error = max(each.max_error for each in rounds)
    finite = all(each.finite for each in rounds)
    notes = [
        f"{inputs - images} random inputs" + (f", {images} images" if images else " alone, no real images"),
        "" if finite else "outputs that are not finite",
        "" if all(each.classes for each in rounds) else "no class scores: top-1 not compared",
    ]
    return Parity(
        passed=finite and max_error <= tolerance and same == inputs,
        # JSON has no infinity; a file with such outputs differs without bound
        max_error=min(max_error, float(np.finfo(np.float32).max)),
        tolerance=tolerance,
        agreement=same / inputs,
        ties=sum(each.ties for each in rounds),
        images=images,
        detail="; ".join(note for note in notes if note),
    )


def compare(found: Arrays, expected: Arrays, tolerance: float) -> Findings:
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
    finite = np.all([np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1) for a, b in pairs], axis=0)
    if not finite.all():
        return Findings(inputs, float("inf"), finite=False, worst=int(finite.argmin()))
    errors = np.max([_relative_errors(a, b) for a, b in pairs], axis=0)
    largest, worst = float(errors.max()), int(errors.argmax())
    if expected[0].ndim != 2 or expected[0].shape[1] < 2:
        return Findings(inputs, largest, same=inputs, classes=False, worst=worst)
    differs, tie = _top1(*pairs[0], tolerance)
    return Findings(inputs, largest, same=int((~differs | tie).sum()), ties=int(tie.sum()), worst=worst)


def _relative_errors(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """The largest difference of each row as a share of max |expected|; infinite where the network says all zeros."""
    difference = np.abs(found - expected).max(axis=1)
    scale = np.abs(expected).max(axis=1)
    return np.where(difference == 0, 0.0, difference / np.where(scale == 0, np.finfo(np.float64).tiny, scale))


def _top1(found: np.ndarray, expected: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Say of each row whether the best class differs, and whether it is a tie, which the network hardly tells apart."""
    rows = np.arange(len(expected))
    theirs, ours = found.argmax(axis=1), expected.argmax(axis=1)
    margin = expected[rows, ours] - expected[rows, theirs]
    differs = theirs != ours
    return differs, differs & (margin <= tolerance * np.abs(expected).max(axis=1))
