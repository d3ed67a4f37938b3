"""How far outputs are apart: relative error, the task's answers, what is not finite. Numbers alone, no files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deploy_prune.errors import ParityFailed
from deploy_prune.train.tasks import Task
from deploy_prune.values import Parity

Arrays = tuple[np.ndarray, ...]
"""An array per output (or input) of a network, each (inputs, ...)."""


@dataclass(frozen=True)
class Findings:
    """What comparing some outputs has shown."""

    inputs: int = 0
    """How many inputs were compared."""
    max_error: float = 0.0
    """The largest relative error: the largest difference of an output for one input, as a share of max |expected|."""
    same: int = 0
    """How many inputs the task reads the same answer for out of both, ties included."""
    ties: int = 0
    """How many inputs the answers differ for, between two that the network itself rates alike within the tolerance."""
    finite: bool = True
    """Whether all outputs of both are finite."""
    answered: bool = True
    """Whether the task reads answers out of the outputs, which were compared."""
    worst: int = 0
    """The number of the input with the largest error."""
    output: int = 0
    """The number of the output with the largest error."""


def judge(rounds: Sequence[Findings], tolerance: float, *, images: int, task: Task) -> Parity:
    """Give the verdict over all comparisons; of all inputs `images` were images, the others random numbers."""
    inputs, same = sum(each.inputs for each in rounds), sum(each.same for each in rounds)
    max_error = max(each.max_error for each in rounds)
    finite = all(each.finite for each in rounds)
    answered = all(each.answered for each in rounds)
    notes = [
        f"{inputs - images} random inputs" + (f", {images} images" if images else " alone, no real images"),
        "" if finite else "outputs that are not finite",
        "" if answered else task.unanswered,
    ]
    return Parity(
        passed=finite and max_error <= tolerance and same == inputs,
        # JSON has no infinity; a file with such outputs differs without bound
        max_error=min(max_error, float(np.finfo(np.float32).max)),
        tolerance=tolerance,
        agreement=same / inputs if answered else None,
        ties=sum(each.ties for each in rounds),
        images=images,
        detail="; ".join(note for note in notes if note),
    )


def tell_difference(parity: Parity) -> str:
    """What to say of a file that does not do what its network does."""
    same = "" if parity.agreement is None else f", same top-1 on {parity.agreement:.1%}"
    error = f"relative error {parity.max_error:.1e} (limit {parity.tolerance:.0e})"
    return f"the file computes something else: {error}{same} ({parity.detail})"


def compare(outputs: Arrays, expected: Arrays, tolerance: float, task: Task) -> Findings:
    """Hold outputs against the expected ones: the worst of all, and whether the task reads the same out of both.

    Args:
        outputs: those of the file, each (inputs, ...).
        expected: those of the network, of the same shapes.
        tolerance: the relative error that is allowed, see `Findings.max_error`.
        task: what reads answers out of the outputs.

    Raises:
        ParityFailed: the outputs are not even of the same shapes.
    """
    shapes = [array.shape for array in outputs], [array.shape for array in expected]
    if shapes[0] != shapes[1]:
        message = f"the file returns outputs of shapes {shapes[0]}, the network {shapes[1]}"
        raise ParityFailed(message, hint="a fault of the converter: another format, or another version of it, may do")
    inputs = len(expected[0])
    pairs = [
        (a.reshape(inputs, -1).astype(np.float64), b.reshape(inputs, -1))
        for a, b in zip(outputs, expected, strict=True)
    ]
    finite = np.all([np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1) for a, b in pairs], axis=0)
    if not finite.all():
        lacking = [not (np.isfinite(a).all() and np.isfinite(b).all()) for a, b in pairs]
        return Findings(inputs, float("inf"), finite=False, worst=int(finite.argmin()), output=lacking.index(True))
    errors = np.stack([_measure_errors(a, b) for a, b in pairs])  # (outputs, inputs)
    output, worst = np.unravel_index(int(errors.argmax()), errors.shape)
    answers = task.answers(tuple(array.astype(np.float64) for array in outputs), expected, tolerance)
    return Findings(
        inputs, float(errors.max()),
        same=inputs if answers is None else int(answers.same.sum()),
        ties=0 if answers is None else int(answers.ties.sum()),
        answered=answers is not None, worst=int(worst), output=int(output),
    )  # fmt: skip


def _measure_errors(outputs: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(inputs, numbers) twice -> (inputs,): each row's largest difference as a share of its max |expected|.

    It is next to infinite where the network says all zeros and the file does not.
    """
    difference = np.abs(outputs - expected).max(axis=1)
    scale = np.abs(expected).max(axis=1)
    return np.where(difference == 0, 0.0, difference / np.where(scale == 0, np.finfo(np.float64).tiny, scale))
