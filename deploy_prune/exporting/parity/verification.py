"""An exported file against the network it came from: run on its runtime, compared on the same inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from deploy_prune.errors import DeployPruneError
from deploy_prune.exporting.app_interface import put_in_form
from deploy_prune.exporting.parity.comparison import Arrays, compare, judge
from deploy_prune.exporting.parity.divergence import find_first_divergence
from deploy_prune.exporting.parity.reference import CLASSIFICATION, Reference
from deploy_prune.formats.tensor_names import give_names
from deploy_prune.timing.runtimes import Opener, Session
from deploy_prune.train.outputs import list_tensors
from deploy_prune.values import Artifact, Parity, look_up_precision

OWN_SHARE = 4
"""Rounding of the network itself that takes more than this part of the tolerance is told where a file fails."""


def verify(reference: Reference, artifact: Artifact, *, runtime: Opener) -> Parity:
    """Run the file on the inputs of the reference and compare every output.

    Where they differ, `detail` says in which of several outputs most, and which layer is the first to differ on the
    input where they do.

    Raises:
        InputError: the runtime cannot open the file.
        ParityFailed: the file does not take the network's inputs at all.
    """
    session = runtime.open(Path(artifact.path), threads=1)
    tolerance, asked = look_up_precision(artifact.precision).tolerance, reference.questions.inputs
    task = reference.questions.task
    taken = [_convert_inputs(inputs.arrays, session, artifact) for inputs in asked]
    rounds = [
        compare(_run_file(session, arrays, artifact), expected, tolerance, task)
        for arrays, expected in zip(taken, reference.expected, strict=True)
    ]
    images = sum(len(inputs.arrays[0]) for inputs in asked if inputs.real)
    parity = judge(rounds, tolerance, images=images, task=task)
    if parity.passed:
        return parity
    worst = max(range(len(rounds)), key=lambda index: rounds[index].max_error)
    row = slice(rounds[worst].worst, rounds[worst].worst + 1)
    theirs = tuple(array[row] for array in taken[worst])
    ours = theirs if artifact.baked else tuple(array[row] for array in asked[worst].arrays)
    output, layer = (
        _name_output(reference, rounds[worst].output),
        _say_where(reference, artifact, session, ours, theirs),
    )
    return replace(parity, detail="; ".join(filter(None, (parity.detail, output, layer))))


def _name_output(reference: Reference, index: int) -> str:
    """The output that differs most, in words; nothing where there is only one."""
    names = give_names("output", reference.questions.form.output_names, len(reference.expected[0]))
    return f"the largest difference is in output '{names[index]}'" if len(names) > 1 else ""


def _say_where(reference: Reference, artifact: Artifact, session: Session, ours: Arrays, theirs: Arrays) -> str:
    """The first layer that differs for one input, in the network's form and in the file's."""
    try:
        session.resize(1)
        layers = session.layers(*theirs)
    except DeployPruneError as error:  # the file is wrong all the same
        return f"no layer is named: {error.message}"
    assert artifact.layout  # it was written here, or there would be no network to hold it against
    module, _ = put_in_form(reference.questions.network, reference.questions.form, camera_layout=artifact.layout)
    inputs = tuple(torch.from_numpy(np.array(array)) for array in ours)
    tolerance = look_up_precision(artifact.precision).tolerance
    where = str(find_first_divergence(module, inputs, layers, tolerance))
    return "; ".join(filter(None, (where, _say_own_rounding(module, inputs, tolerance))))


def _say_own_rounding(module: nn.Module, inputs: tuple[Tensor, ...], tolerance: float) -> str:
    """What to know where the network itself hardly keeps the tolerance, by running it in float64; else nothing."""
    with torch.no_grad():
        single = list_tensors(module(*inputs))
        try:
            double = list_tensors(module.double()(*(tensor.double() for tensor in inputs)))
        except RuntimeError:  # it mixes in tensors of a type of its own
            return ""
    arrays = [tuple(tensor.numpy() for tensor in tensors) for tensors in (single, double)]
    error = compare(arrays[0], arrays[1], tolerance, CLASSIFICATION).max_error
    return f"the network's own rounding is {error:.0e}, fp32 against fp64" if error > tolerance / OWN_SHARE else ""


def _run_file(session: Session, taken: Arrays, artifact: Artifact) -> Arrays:
    """Run a file on a whole batch, one by one where it takes no other: an array (inputs, ...) per output."""
    total = len(taken[0])
    size = total if artifact.dynamic_batch else 1
    session.resize(size)
    runs = [session.run(*(array[start : start + size] for array in taken)) for start in range(0, total, size)]
    return tuple(np.concatenate(parts) for parts in zip(*runs, strict=True))


def _convert_inputs(inputs: Arrays, session: Session, artifact: Artifact) -> Arrays:
    """Bring inputs into the file's layout and types: (inputs, channels, h, w) or (inputs, h, w, channels)."""
    have = "nhwc" if artifact.baked else "nchw"
    axes = (1, -1) if have == "nchw" else (-1, 1)
    moved = inputs
    if have != artifact.layout:
        moved = tuple(np.moveaxis(array, *axes) if array.ndim > 2 else array for array in inputs)
    pairs = zip(moved, session.inputs, strict=True)
    return tuple(np.ascontiguousarray(array, dtype=spec.dtype) for array, spec in pairs)
