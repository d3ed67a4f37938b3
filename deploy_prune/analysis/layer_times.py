"""What each layer of an exported file takes: by the runtime's own profiler, or every operator alone in a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from deploy_prune import stats
from deploy_prune.errors import InputError
from deploy_prune.formats.templates import Operator, OperatorKind, Structure, Template
from deploy_prune.timing.bracketing import BLOCK_TIMEOUT_S, Pace, choose_block_size
from deploy_prune.timing.devices import Device, Job, Worker
from deploy_prune.values import NodeTime, Progress, quiet

if TYPE_CHECKING:
    import numpy as np

FLOAT_BYTES = 4
ALONE = Pace(block_ms=12.0)
"""An operator is read against a fixed one nearby, so that its block may be short."""
PASSES = 2
EVERY = 5
"""The number of operators between two readings of the fixed one."""
FUSED = {"PAD": ("CONV_2D", "DEPTHWISE_CONV_2D")}
"""What XNNPACK computes together with the operator that alone reads it: a padded depthwise convolution (96 channels at
112 x 112) takes 0.45 ms, its two operators alone 0.65 and 0.41 ms."""

Alone = tuple[float | None, ...]
"""Milliseconds of a file's operators; None: it does not run alone."""


@dataclass(frozen=True)
class LayerTime:
    """One operator of a file and its time."""

    name: str
    operator: str
    """The file's own name for it; the runtime's word, where the runtime put it in."""
    run_as: str
    """The runtime's own word for it."""
    kind: OperatorKind
    ms: float
    macs: int
    bytes_moved: int
    """Its activations and weights, fp32."""
    channels_in: int = 0
    """0: it has no weights."""
    channels_out: int = 0
    kernel: int = 1
    stride: int = 1
    positions: int = 0
    """Places of its image at which it computes; 0: it has no weights."""
    delegated: bool | None = None
    """None: this runtime delegates nothing."""
    place: int | None = None
    """Among the file's operators; None: the runtime put it in."""


def list_untimed_layers(structure: Structure) -> tuple[LayerTime, ...]:
    """A file's operators; their times are still to be found."""
    return tuple(_make_layer(each, structure.numbers, place) for place, each in enumerate(structure.operators))


def _make_layer(operator: Operator, numbers: np.ndarray, place: int) -> LayerTime:
    def elements(*tensors: Sequence[int]) -> int:
        return sum(int(numbers[list(tensor)].prod()) for tensor in tensors)

    moved = FLOAT_BYTES * elements(*operator.inputs, *operator.outputs, *filter(None, [operator.weight]))
    layer = LayerTime(
        f"{operator.name} #{place}", operator.name, operator.name, operator.kind, 0.0, 0, moved, place=place
    )
    if not operator.weight:
        return layer
    ins, outs = int(numbers[operator.channels_in]), int(numbers[operator.channels_out])
    spread = "transpose" in operator.name.lower()  # every input position is multiplied, not every output
    positions = elements(operator.inputs[0]) // ins if spread else elements(operator.outputs[0]) // outs
    return replace(
        layer,
        name=operator.label or layer.name,
        macs=positions * elements(operator.weight),
        channels_in=ins,
        channels_out=outs,
        kernel=operator.kernel,
        stride=operator.stride,
        positions=positions,
    )


def read_profile(structure: Structure, nodes: Sequence[NodeTime]) -> tuple[LayerTime, ...]:
    """What the runtime ran, in its order; what it fused into a layer is in that layer's time."""
    layers = list_untimed_layers(structure)
    return tuple(
        LayerTime(node.name, node.operator, node.operator, "move", node.ms, 0, node.bytes_moved)
        if node.place is None
        else replace(layers[node.place], ms=node.ms, run_as=node.operator)
        for node in nodes
    )


def assign_times(structure: Structure, alone_ms: Alone, taken: frozenset[int]) -> tuple[LayerTime, ...]:
    """A file's operators with their times alone; those that a delegate computes with another have none of their own."""
    delegated = [place in taken for place in range(len(structure.operators))]
    fused = _find_fused(structure.operators) & taken
    return tuple(
        replace(layer, ms=0.0 if place in fused else alone_ms[place] or 0.0, delegated=delegated[place])
        for place, layer in enumerate(list_untimed_layers(structure))
    )


def _find_fused(operators: Sequence[Operator]) -> frozenset[int]:
    fused = set()
    for place, operator in enumerate(operators):
        readers = [each.name for each in operators if operator.outputs[0] in each.inputs]
        if len(readers) == 1 and readers[0] in FUSED.get(operator.name, ()):
            fused.add(place)
    return frozenset(fused)


def scale_to(layers: Sequence[LayerTime], whole_ms: float) -> tuple[LayerTime, ...]:
    """The same with times that add up to the whole file's."""
    factor = whole_ms / max(sum(layer.ms for layer in layers), 1e-9)
    return tuple(replace(layer, ms=layer.ms * factor) for layer in layers)


# --- every operator alone ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Single:
    file: int
    place: int
    path: Path


def time_alone(
    templates: Sequence[Template], job: Job, device: Device, folder: Path, progress: Progress = quiet
) -> tuple[Alone, ...]:
    """Time every operator of some files in a file of its own; one process runs them all in turns.

    Args:
        templates: of the files.
        job: how; its suffix is that of the files.
        device: where they run.
        folder: where the one-operator files go.
        progress: told after each operator.

    Raises:
        Unavailable: the process died.
    """
    singles = sorted(_write_singles(templates, folder, job.path.suffix), key=lambda single: single.place)
    weights = [layer.macs for layer in list_untimed_layers(templates[0].structure)]
    reference = next(each for each in singles if (each.file, each.place) == (0, weights.index(max(weights))))
    with device.start(replace(job, path=reference.path)) as worker:
        turns = [
            list(_take_turn(worker, singles, reference.path, _scale_progress(progress, number)))
            for number in range(PASSES)
        ]
    readings: dict[tuple[int, int], float] = {}
    for single, ms in (reading for turn in turns for reading in turn):
        key = single.file, single.place
        readings[key] = min(ms, readings.get(key, ms))
    return tuple(
        tuple(readings.get((number, place)) for place in range(len(template.structure.operators)))
        for number, template in enumerate(templates)
    )


def _scale_progress(progress: Progress, number: int) -> Progress:
    """One pass as its part of all."""

    def told(task: str, done: int, total: int, note: str = "") -> None:
        progress(task, number * total + done, PASSES * total, note)

    return told


def _write_singles(templates: Sequence[Template], folder: Path, suffix: str) -> Iterator[_Single]:
    for number, template in enumerate(templates):
        for place in range(len(template.structure.operators)):
            path = folder / f"{number}-{place}{suffix}"
            path.write_bytes(template.single(template.structure.numbers, place))
            yield _Single(number, place, path)


def _take_turn(
    worker: Worker, singles: Sequence[_Single], reference: Path, progress: Progress
) -> Iterator[tuple[_Single, float]]:
    """Each single once, as its share of the reference before and after, times the reference's first reading."""
    first = before = _read(worker, reference)
    for start in range(0, len(singles), EVERY):
        group = singles[start : start + EVERY]
        readings = [_attempt(worker, single.path) for single in group]
        after = _read(worker, reference)
        for single, ms in zip(group, readings, strict=True):
            if ms is not None:
                yield single, ms * first * 2 / (before + after)
        before = after
        progress("operators", start + len(group), len(singles), reference.suffix)


def _attempt(worker: Worker, path: Path) -> float | None:
    """None: the operator does not run alone."""
    try:
        return _read(worker, path)
    except InputError:
        return None


def _read(worker: Worker, path: Path) -> float:
    opened = worker.open(path)
    once = opened.block(1, timeout_s=BLOCK_TIMEOUT_S).samples
    block = opened.block(choose_block_size(stats.median(once), ALONE), timeout_s=BLOCK_TIMEOUT_S)
    return min(block.samples)
