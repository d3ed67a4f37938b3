"""Operators as they were called: what must be the same before and after a cut, and what says that it is not.

A forward pass may look at the number of channels: it slices, branches, loops or scales by it. Labels alone do not show
that, as every operator passes them on. So each call leaves its name, the arguments that are no sizes and the labels of
what it reads; a cut network must go through the same steps, each of which reads the same units but for the removed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from torch import Tensor

from deploy_prune.graph.labels import compact, varying
from deploy_prune.graph.ledger import Ledger
from deploy_prune.graph.meta import name_of
from deploy_prune.graph.recording import Recording
from deploy_prune.graph.rules.call import Call, tensors
from deploy_prune.graph.rules.reductions import SPATIAL
from deploy_prune.values import Step

SIZES: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "_reshape_alias", "expand"), frozenset(["size"])),
    **dict.fromkeys(("zeros", "ones", "empty", "rand", "randn", "full"), frozenset(["size"])),
    **dict.fromkeys(("new_zeros", "new_ones", "new_empty", "new_full"), frozenset(["size"])),
    "as_strided": frozenset(["size", "stride", "storage_offset"]),
    "repeat": frozenset(["repeats"]),
    "split": frozenset(["split_size"]),
    "split_with_sizes": frozenset(["split_sizes"]),
    "convolution": frozenset(["groups"]),
    "native_group_norm": frozenset(["C"]),
    "native_layer_norm": frozenset(["normalized_shape"]),
}
"""Operator -> its arguments that count channels: a cut changes them, and the labels of the results check them."""
PLACES: Mapping[str, frozenset[str]] = {
    "slice": frozenset(["start", "end"]),
    "narrow": frozenset(["start", "length"]),
    "select": frozenset(["index"]),
    "roll": frozenset(["shifts"]),
    "constant_pad_nd": frozenset(["pad"]),
}
"""Operator -> its arguments that do so along an axis of channels only."""
SCALINGS = frozenset(["mul", "div", "true_divide"])
"""Operators whose number may follow the widths: a rescaling, which may be meant."""
NOISE = SCALINGS | {"native_dropout", "dropout", "empty_like", "rand_like", "bernoulli"}
"""What training alone does to a tensor as a whole."""
CHANNELS_FIRST = frozenset(["convolution", "native_batch_norm", "native_group_norm", *SPATIAL])
"""Operators that work along the axes behind the channels, whose sizes a cut must not change."""


def describe_step(ledger: Ledger, call: Call, given: Sequence[Any]) -> Step:
    """Write down one call.

    Args:
        ledger: the labels of what it reads.
        call: the operator and its arguments, on meta.
        given: the arguments as they were given: numbers may come in tensors, whose content meta tensors lack.
    """
    name = name_of(call.func)
    arguments = dict(zip((each.name for each in call.func._schema.arguments), given, strict=False)) | dict(call.kwargs)
    exempt = SIZES.get(name, frozenset()) | _find_places(ledger, call, name, arguments)
    fixed: list[tuple[str, object]] = []
    scales: list[tuple[str, object]] = []
    for argument, value in arguments.items():
        told = None if argument in exempt else _tell(value)
        if told is not None:
            (scales if name in SCALINGS or name == "lift_fresh" else fixed).append((argument, told))
    if name in CHANNELS_FIRST:
        fixed.append(("input size", tuple(arguments[next(iter(arguments))].shape[2:])))
    return Step(name, ledger.where, tuple(_list_reads(ledger, call)), tuple(fixed), tuple(scales))


def _find_places(ledger: Ledger, call: Call, name: str, arguments: Mapping[str, Any]) -> frozenset[str]:
    """The arguments that count channels because the operator works along an axis of them."""
    places = PLACES.get(name)
    if places is None:
        return frozenset()
    labels = ledger.peek(call.args[0])
    if labels is None:
        return frozenset()
    return places if _list_axes(name, arguments, labels.dim()) & {*varying(labels)} else frozenset()


def _list_axes(name: str, arguments: Mapping[str, Any], dimensions: int) -> set[int]:
    if name == "constant_pad_nd":
        amounts = arguments["pad"]
        return {dimensions - 1 - place // 2 for place, amount in enumerate(amounts) if amount}
    axes = arguments.get("dims", arguments.get("dim", 0))
    return {axis % dimensions for axis in (axes if isinstance(axes, list | tuple) else [axes])}


def _tell(value: Any) -> object | None:
    """What an argument says that is no tensor of activations; None: nothing."""
    if isinstance(value, Tensor):
        return value.item() if value.numel() == 1 and value.device.type != "meta" else None
    if isinstance(value, list | tuple):
        return tuple(_tell(each) for each in value)
    if isinstance(value, float) and math.isnan(value):
        return "nan"  # which equals nothing, not itself either
    return value if isinstance(value, bool | int | float | str) else None


def _list_reads(ledger: Ledger, call: Call) -> Iterable[np.ndarray]:
    """The labels of each tensor that carries some, in the order of memory, repeated ones once: int64, shape (n,)."""
    for tensor in tensors(call.args):
        labels = ledger.peek(tensor)
        if labels is not None:
            line = compact(labels).reshape(-1).numpy()
            line = drop_repeats(line[line >= 0])
            if line.size:
                yield line


def drop_repeats(line: np.ndarray) -> np.ndarray:
    """A line without what repeats its neighbour: 3 3 5 3 is 3 5 3."""
    first = np.ones(line.size, dtype=bool)
    np.not_equal(line[1:], line[:-1], out=first[1:])
    return line[first]


def find_difference(dense: Sequence[Step], small: Sequence[Step], units: np.ndarray, stays: np.ndarray) -> str:
    """The first step of a cut network that is not the dense one's: what it does, and its line. Empty: there is none.

    Args:
        dense: the steps of the dense network, which read units.
        small: those of the cut network, which read labels.
        units: label of the cut network -> unit of the dense one, -1 for none: int, shape (labels,).
        stays: which units of the dense network are kept: bool, shape (units,).
    """
    for before, after in zip_longest(dense, small):
        if before is None or after is None or before.operator != after.operator or before.fixed != after.fixed:
            both = dict.fromkeys(step.where for step in (before, after) if step)
            return f"the forward pass decides by the number of channels at {', or '.join(both)}"
        if len(before.reads) != len(after.reads) or not all(
            np.array_equal(drop_repeats(line[stays[line]]), _to_units(labels, units))
            for line, labels in zip(before.reads, after.reads, strict=True)
        ):
            return f"a cut shifts channels at {before.where}"
    return ""


def find_origin(dense: Recording, small: Recording, units: tuple[np.ndarray, np.ndarray], stays: np.ndarray) -> str:
    """The first step whose results are not the dense network's without the removed units: where a shift begins.

    Args:
        dense: the dense network's recording.
        small: the cut network's.
        units: label -> unit of the dense network, -1 for none, for each of the two recordings.
        stays: which units are kept: bool, shape (units,).
    """
    for step, results, others in zip(dense.steps, dense.results, small.results, strict=False):
        for one, other in zip(results, others, strict=False):
            line = _list_units(one, units[0])
            if not np.array_equal(line[(line < 0) | stays[line]], _list_units(other, units[1])):
                return step.where
    return ""


def _list_units(labels: Tensor, units: np.ndarray) -> np.ndarray:
    """The unit of every element, -1 where it has none, of labels that vary: int, shape (n,)."""
    line = compact(labels).reshape(-1).numpy()
    return np.where(line < 0, -1, units[line]) if units.size else line


def _to_units(labels: np.ndarray, units: np.ndarray) -> np.ndarray:
    line = units[labels]
    return drop_repeats(line[line >= 0])


def find_rescalings(dense: Sequence[Step], small: Sequence[Step]) -> tuple[str, ...]:
    """The steps of the same forward pass that multiply or divide by another number once the network is cut."""
    pairs = zip(dense, small, strict=True)
    return tuple(dict.fromkeys(before.where for before, after in pairs if before.scales != after.scales))


def are_alike(one: Sequence[Step], other: Sequence[Step]) -> bool:
    """Whether two passes over the same labels do the same but for the noise of training."""
    first, second = ([step for step in steps if step.reads and not _is_noise(step)] for steps in (one, other))
    return len(first) == len(second) and all(
        _plain(a.operator) == _plain(b.operator)
        and len(a.reads) == len(b.reads)
        and all(np.array_equal(x, y) for x, y in zip(a.reads, b.reads, strict=True))
        for a, b in zip(first, second, strict=True)
    )


def _is_noise(step: Step) -> bool:
    return step.operator in NOISE and all(np.array_equal(step.reads[0], line) for line in step.reads[1:])


def _plain(operator: str) -> str:
    return "batch_norm" if "batch_norm" in operator else operator
