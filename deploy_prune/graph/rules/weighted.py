"""Operators with a weight: they make channels, and tie what they read to the weight's input axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from deploy_prune.graph import labels as lab
from deploy_prune.graph.labels import LOCKED, NEUTRAL
from deploy_prune.graph.ledger import Ledger
from deploy_prune.graph.rules.call import Call, Rule, everywhere, lock_unknown, tensors
from deploy_prune.graph.rules.reductions import product
from deploy_prune.values import Layer


def whole_groups(groups: int, inputs_per_group: int) -> bool:
    """Whether a grouped convolution loses whole groups (depthwise is the extreme) or the same place in every group.

    Whichever leaves the finer choice: `groups` units or `inputs_per_group` units.
    """
    return groups > 1 and groups >= inputs_per_group


@dataclass(frozen=True, eq=False)
class _Convolution:
    weight: str
    read: Tensor
    """The labels of the input channels, shape (channels,)."""
    groups: int
    transposed: bool

    @property
    def output_axis(self) -> int:
        """The axis of the weight that makes channels."""
        return 1 if self.transposed else 0


def convolution(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """Plain, grouped, depthwise and transposed."""
    source, tensor, bias = call.args[:3]
    transposed, groups = bool(call.args[6]), int(call.args[8])
    weight = ledger.weight(tensor)
    read = lab.on_axis(ledger.labels(source), 1)
    batch, _, *sides = source.shape if transposed else call.shape  # parts of an image may be put into the batch
    positions = batch * math.prod(sides)
    if weight is None or weight[1] != tuple(range(tensor.dim())):
        ledger.recording.fixed_macs += positions * tensor.numel()
        return lock_unknown(ledger, call, why="its weight is computed, not a parameter")
    whole = ledger.whole_groups.get(weight[0], whole_groups(groups, source.shape[1] // groups))
    layer = _describe_layer(ledger, call, weight[0], positions)
    ledger.recording.layers.append(replace(layer, whole_groups=whole, output_axis=int(transposed)))
    if read is None:
        return _lock_mixed(ledger, call, weight[0])
    conv = _Convolution(weight[0], read, groups, transposed)
    made = (_label_whole_groups if whole else _label_dense if groups == 1 else _label_same_places)(ledger, conv)
    _bias(ledger, made, bias)
    return [lab.along(made, 1, call.shape)]


def _lock_mixed(ledger: Ledger, call: Call, weight: str) -> Sequence[Tensor]:
    """Lock a layer that reads channels whose positions belong to different units, and what it reads."""
    why = "the positions of one channel belong to different units"
    for axis in range(2):
        ledger.lock(ledger.slots(weight, axis), f"{why}: {ledger.where}")
    return lock_unknown(ledger, call, why=why)


def _label_dense(ledger: Ledger, conv: _Convolution) -> Tensor:
    _consume(ledger, conv.read, ledger.slots(conv.weight, 1 - conv.output_axis))
    return ledger.slots(conv.weight, conv.output_axis)


def _label_whole_groups(ledger: Ledger, conv: _Convolution) -> Tensor:
    """Inputs and outputs of one group are one unit; the weight loses rows alone."""
    rows = ledger.slots(conv.weight, 0).reshape(conv.groups, -1)
    ledger.tie(rows, rows[:, :1])
    _consume(ledger, conv.read.reshape(conv.groups, -1), rows[:, :1])
    if not conv.transposed:
        return rows.reshape(-1)
    outputs = ledger.recording.tensors[conv.weight].shape[1]
    return rows[:, 0].repeat_interleave(outputs)


def _label_same_places(ledger: Ledger, conv: _Convolution) -> Tensor:
    """The same place in every group goes together."""
    inputs = conv.read.reshape(conv.groups, -1)
    rows = ledger.slots(conv.weight, 0).reshape(conv.groups, -1)
    columns = ledger.slots(conv.weight, 1)
    ledger.tie(rows, rows[:1])
    if conv.transposed:
        _consume(ledger, inputs, rows)
        return columns.repeat(conv.groups)
    _consume(ledger, inputs, columns)
    return rows.reshape(-1)


def _consume(ledger: Ledger, read: Tensor, slots: Tensor) -> None:
    """Tie the labels that arrive to the weight's. Columns that read known zeros are nobody's to remove."""
    ledger.tie(read, slots)
    zeros = read == NEUTRAL
    if bool(zeros.any()):
        ledger.lock(slots.expand(read.shape)[zeros], f"reads known zeros in {ledger.where}")


def _bias(ledger: Ledger, made: Tensor, bias: Tensor | None) -> None:
    if bias is None:
        return
    line = lab.on_axis(ledger.labels(bias), 0) if bias.dim() == 1 else None
    name = ledger.weight(bias)
    if name is not None:
        ledger.tie(made, ledger.slots(name[0], 0))
    elif line is None:
        ledger.lock(made, f"bias of unknown origin in {ledger.where}")
    else:
        ledger.tie(made, line)


def _describe_layer(ledger: Ledger, call: Call, weight: str, positions: int) -> Layer:
    known = [ledger.weight(tensor) for tensor in tensors(call.args) if tensor.dim() == 1]
    return Layer(
        name=weight.removesuffix(".weight"),
        operator=call.func._schema.name,
        weight=weight,
        positions=positions,
        bias=known[0][0] if known and known[0] else None,
    )


def linear(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """`mm(x, W.t())`, `addmm(b, x, W.t())`: channels are on the last axis."""
    *bias, source, tensor = tensors(call.args)
    weight = ledger.weight(tensor)
    if weight is None or len(weight[1]) != 2:
        return product(ledger, call)
    read = lab.on_axis(ledger.labels(source), -1)
    name, (input_axis, output_axis) = weight
    layer = _describe_layer(ledger, call, name, math.prod(call.shape[:-1]))
    ledger.recording.layers.append(replace(layer, output_axis=output_axis))
    if read is None:
        return _lock_mixed(ledger, call, name)
    _consume(ledger, read, ledger.slots(name, input_axis))
    made = ledger.slots(name, output_axis)
    _bias(ledger, made, bias[0] if bias else None)
    return [lab.along(made, len(call.shape) - 1, call.shape)]


def embedding(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """Rows of a table: channels are on the last axis."""
    weight = ledger.weight(call.args[0])
    if weight is None:
        return lock_unknown(ledger, call)
    return [lab.along(ledger.slots(weight[0], 1), len(call.shape) - 1, call.shape)]


def batch_norm(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """Scale, shift and running statistics belong to their channel."""
    base = ledger.labels(call.args[0])
    read = lab.on_axis(base, 1)
    if read is None:
        return lock_unknown(ledger, call)
    for tensor in call.args[1:5]:
        if isinstance(tensor, Tensor):
            ledger.tie(read, _line_of(ledger, tensor))
    return [base, *everywhere(LOCKED, call)[1:]]


def layer_norm(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """A norm over channels: units may go, though the statistics of the others then change."""
    source, normalized = call.args[:2]
    base = ledger.labels(source)
    inside = set(range(base.dim() - len(normalized), base.dim())).intersection(lab.varying(base))
    if inside and (len(normalized) > 1 or lab.on_axis(base, -1) is None):
        return lock_unknown(ledger, call)
    if len(normalized) == 1:
        line = lab.on_axis(base, -1)
        for tensor in call.args[2:4]:
            if isinstance(tensor, Tensor) and line is not None:
                ledger.tie(line, _line_of(ledger, tensor))
    return [base, *everywhere(LOCKED, call)[1:]]


def group_norm(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """Groups must stay equal: the same place in every group goes together."""
    source, *affine = call.args[:3]
    groups = int(call.args[6])
    base = ledger.labels(source)
    read = lab.on_axis(base, 1)
    if read is None:
        return lock_unknown(ledger, call)
    parts = read.reshape(groups, -1)
    ledger.tie(parts, parts[:1])
    for tensor in affine:
        if isinstance(tensor, Tensor):
            ledger.tie(read, _line_of(ledger, tensor))
    return [base, *everywhere(LOCKED, call)[1:]]


def weight_norm(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """A weight made of directions and lengths: the layer is known by the directions, and stays whole."""
    directions = ledger.weight(call.args[0])
    if directions is None:
        return lock_unknown(ledger, call)
    name, axes = directions
    for axis in axes[:2]:
        ledger.lock(ledger.slots(name, axis), f"its weight is normalised: {ledger.where}")
    ledger.note_transpose(call.result[0], name, axes)
    return everywhere(LOCKED, call)


def _line_of(ledger: Ledger, tensor: Tensor) -> Tensor:
    name = ledger.weight(tensor)
    if name is not None and tensor.dim() == 1:
        return ledger.slots(name[0], 0)
    return ledger.labels(tensor)


RULES: dict[str, Rule] = {
    "convolution": convolution,
    "mm": linear,
    "addmm": linear,
    "embedding": embedding,
    "_weight_norm_interface": weight_norm,
    "native_layer_norm": layer_norm,
    "native_group_norm": group_norm,
    **dict.fromkeys(
        ("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "batch_norm"), batch_norm
    ),
}
