"""Shape operators: what they do to a tensor is done to its labels, by running them on the labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from deploy_prune.graph import labels as lab
from deploy_prune.graph.labels import LOCKED, NEUTRAL
from deploy_prune.graph.ledger import Ledger
from deploy_prune.graph.recording import GatherCall
from deploy_prune.graph.rules.call import Call, Rule, lock_unknown


def movement(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """Elements change places: run the operator on the label tensor."""
    moved = call.func(ledger.labels(call.args[0]), *call.args[1:], **call.kwargs)
    results = moved if isinstance(moved, tuple | list) else (moved,)
    return [lab.compress(result) if not result._is_view() else result for result in results]


def transpose(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """Elements change places; a transposed weight is still that weight."""
    weight = ledger.weight(call.args[0])
    if weight:
        order = torch.arange(call.args[0].dim())
        sizes = torch.empty(tuple(range(2, 2 + order.numel())), device="meta")
        axes = [size - 2 for size in call.func(sizes, *call.args[1:], **call.kwargs).shape]
        ledger.note_transpose(call.result, weight[0], tuple(weight[1][axis] for axis in axes))
    return movement(ledger, call)


def view(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """A view that splits an axis must stay rectangular: the same place in every part goes together."""
    base = ledger.labels(call.args[0])
    viewed = lab.reshape(base, call.shape)
    axes = lab.varying(viewed)
    if len(axes) > max(1, len(lab.varying(base))):
        first = viewed.narrow(axes[0], 0, 1)
        ledger.tie(first, viewed)
        if bool((lab.compact(viewed) >= 0).all()):
            return [first.expand(call.shape)]  # the parts are one another's: along them nothing varies any more
    return [viewed]


def split(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """Equal parts must stay equal (chunk counts its sizes anew): the same place in every part goes together."""
    parts = movement(ledger, call)
    axis = call.axis(2, parts[0].dim())
    sizes = {part.shape[axis] for part in parts}
    if axis in lab.varying(parts[0]) and len(sizes) == 1:
        for part in parts[1:]:
            ledger.tie(parts[0], part)
    return parts


def pixel_shuffle(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """The channels that become one output channel go together, so that its pixels stay one unit's."""
    line = lab.on_axis(ledger.labels(call.args[0]), -3)
    if line is None:
        return lock_unknown(ledger, call)
    parts = line.reshape(call.shape[-3], -1)
    ledger.tie(parts[:, :1], parts)
    return [lab.along(parts[:, 0], len(call.shape) - 3, call.shape)]


def channel_shuffle(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """Parts must stay equal: the same place in every part goes together."""
    line = lab.on_axis(ledger.labels(call.args[0]), 1)
    if line is None:
        return lock_unknown(ledger, call)
    parts = line.reshape(call.args[1], -1)
    ledger.tie(parts[:1], parts)
    return movement(ledger, call)


def glu(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """One half gates the other: the same place in both goes together."""
    base = ledger.labels(call.args[0])
    axis = (call.args[1] if len(call.args) > 1 else -1) % base.dim()
    gated, gate = (base.narrow(axis, start, call.shape[axis]) for start in (0, call.shape[axis]))
    ledger.tie(gated, gate)
    return [gated]


def cat(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """Parts one after the other."""
    parts = [ledger.labels(part) for part in call.args[0] if part.numel()]
    return [lab.concatenate(parts, call.axis(1, len(call.shape)))]


def stack(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """Parts on a new axis must have the same sizes: the same place in every part goes together."""
    parts = [ledger.labels(part) for part in call.args[0]]
    for part in parts[1:]:
        ledger.tie(parts[0], part)
    return [parts[0].unsqueeze(call.axis(1, len(call.shape))).expand(call.shape)]


def pad(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """Zeros beside the content; along an axis without labels of its own nothing changes."""
    base, amounts = ledger.labels(call.args[0]), list(call.args[1])
    value = call.args[2] if len(call.args) > 2 else call.kwargs.get("value", 0)
    axes = lab.varying(base)
    for axis in range(base.dim()):
        place = 2 * (base.dim() - 1 - axis)
        before, after = (amounts[place : place + 2]) if place < len(amounts) else (0, 0)
        if not (before or after):
            continue
        if axis not in axes:
            base = base.narrow(axis, 0, 1).expand(*base.shape[:axis], call.shape[axis], *base.shape[axis + 1 :])
            continue
        mark = NEUTRAL if value in (0, None) else LOCKED
        if min(before, after) < 0:
            base = base.narrow(axis, max(0, -before), base.shape[axis] + min(0, before) + min(0, after))
        sides = [lab.constant(mark, _with_size(base, axis, max(0, side))) for side in (before, after)]
        base = lab.concatenate([part for part in (sides[0], base, sides[1]) if part.numel()], axis)
    return [base]


def _with_size(like: Tensor, axis: int, size: int) -> tuple[int, ...]:
    return (*like.shape[:axis], size, *like.shape[axis + 1 :])


def restride(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """`as_strided` moves nothing where it lays images and channels out as usual (global pooling ends so)."""
    base, size, strides = ledger.labels(call.args[0]), call.args[1], call.args[2]
    real = [axis for axis, length in enumerate(size) if length > 1]
    usual = [math.prod(size[axis + 1 :]) for axis in real]
    if base.shape != call.shape or len(real) > 2 or (len(real) > 1 and [strides[axis] for axis in real] != usual):
        return lock_unknown(ledger, call)
    return [base]


def index_select(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """Picking channels by a constant buffer: the buffer is an index map that surgery rewrites."""
    source, axis, index = call.args
    base, name = ledger.labels(source), ledger.names.get(id(index))
    axis %= base.dim()
    if axis not in lab.varying(base):
        return [base.narrow(axis, 0, 1).expand(call.shape)]
    line = lab.on_axis(base, axis)
    if name is None or line is None or name not in ledger.constants:
        return lock_unknown(ledger, call)
    picked = line[ledger.constants[name].cpu()]
    ledger.recording.gathers.append(GatherCall(name, line))
    ledger.tie(ledger.slots(name, 0), picked)
    return [lab.along(torch.where(picked == NEUTRAL, ledger.slots(name, 0), picked), axis, call.shape)]


def index(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """`x[:, buffer]` is an index_select when exactly one axis is indexed."""
    source, indices = call.args
    used = [axis for axis, item in enumerate(indices) if item is not None]
    if len(used) == 1 and indices[used[0]].dim() == 1 and not indices[used[0]].dtype.is_floating_point:
        return index_select(ledger, Call(call.func, (source, used[0], indices[used[0]]), {}, call.result))
    return lock_unknown(ledger, call)


MOVEMENT = [
    "unsqueeze",
    "squeeze",
    "slice",
    "select",
    "split_with_sizes",
    "chunk",
    "unbind",
    "expand",
    "flip",
    "roll",
    "pixel_unshuffle",
    "repeat",
    "narrow",
    "movedim",
    "unfold",
    "diagonal",
    "swapaxes",
    "squeeze_copy",
]

RULES: dict[str, Rule] = {
    **dict.fromkeys(MOVEMENT, movement),
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "_reshape_alias"), view),
    **dict.fromkeys(("t", "transpose", "permute"), transpose),
    "cat": cat,
    "stack": stack,
    "split": split,
    "constant_pad_nd": pad,
    "index_select": index_select,
    "index": index,
    "glu": glu,
    "pixel_shuffle": pixel_shuffle,
    **dict.fromkeys(("channel_shuffle", "native_channel_shuffle"), channel_shuffle),
    "as_strided": restride,
}
