"""Where a flat network applies its layers: in which form, behind which norm, into which stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from torch import Tensor
from torch.fx import Node

from deploy_prune.graph.flat_network import Flat, Tensors
from deploy_prune.graph.written_down import BATCH_NORM

ADDS = frozenset({"aten.add.Tensor", "aten.add_.Tensor"})
LAYERS = {
    "aten.linear.default": "linear",
    "aten.conv1d.default": "convolution", "aten.conv1d.padding": "convolution",
    "aten.conv2d.default": "convolution", "aten.conv2d.padding": "convolution",
    "aten.conv3d.default": "convolution", "aten.conv3d.padding": "convolution",
    "aten.conv_transpose1d.default": "transposed", "aten.conv_transpose2d.input": "transposed",
    "aten.conv_transpose3d.input": "transposed",
}  # fmt: skip
"""Operators that apply a weight -> the kind of the layer."""


Pads = tuple[tuple[int, int], ...]
"""The zeros before and behind the input, axis by axis."""


@dataclass(frozen=True)
class LayerForm:
    """How a layer applies its weight."""

    kind: Literal["linear", "convolution", "transposed"]
    stride: tuple[int, ...] = ()
    """One number per spatial axis, and in the two fields below; none for a linear layer."""
    pads: Pads = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1

    @property
    def channel_axis(self) -> int:
        """The axis of its output that its channels lie along."""
        return -1 if self.kind == "linear" else 1


@dataclass(frozen=True)
class NormBehind:
    """A batch norm that one layer alone feeds, and that does nothing else: the names of its tensors."""

    mean: str
    variance: str
    scale: str | None
    """None: it has no scale, which is then 1."""
    epsilon: float

    def slope(self, tensors: Tensors) -> Tensor:
        """What it multiplies each channel by: shape (channels,)."""
        slope = (tensors[self.variance] + self.epsilon).rsqrt()
        return slope if self.scale is None else slope * tensors[self.scale]


@dataclass(frozen=True, eq=False)
class CallsByWeight:
    """Where a flat network applies each weight as it is."""

    flat: Flat

    @cached_property
    def calls(self) -> Mapping[str, tuple[Node, ...]]:
        """Weight -> the operators that apply it, in order; a weight that anything else reads is not here."""
        names = self.flat.constants
        by_weight: dict[str, list[Node]] = {}
        spoiled: set[str] = set()
        for node in self.flat.nodes:
            weight = bind_arguments(node).get("weight") if str(node.target) in LAYERS else None
            for read in node.all_input_nodes:
                if read in names and read is weight:
                    by_weight.setdefault(names[read], []).append(node)
                elif read in names:
                    spoiled.add(names[read])
        return {name: tuple(nodes) for name, nodes in by_weight.items() if name not in spoiled}

    def first_place(self, weight: str) -> int:
        """Where the first of them is among the operators."""
        return self.flat.places[self.calls[weight][0]]


def bind_arguments(node: Node) -> dict[str, Any]:
    """The arguments of an operator by the names that its schema gives them."""
    target: Any = node.target
    values = {argument.name: argument.default_value for argument in target._schema.arguments}
    values |= dict(zip(values, node.args, strict=False))
    return values | dict(node.kwargs)


def input_of(call: Node) -> Node:
    """What a layer reads."""
    read: Node = bind_arguments(call)["input"]
    return read


def form_of(call: Node, weight: Tensor) -> LayerForm | None:
    """How an operator applies a weight; None: in no way that can be refitted."""
    kind, given = LAYERS[str(call.target)], bind_arguments(call)
    value = given["input"].meta.get("val")
    if not isinstance(value, Tensor):
        return None
    if kind == "linear":
        return LayerForm("linear") if weight.dim() == 2 and value.dim() >= 2 else None
    if value.dim() != weight.dim():
        return None
    axes = weight.dim() - 2
    stride, dilation = (_per_axis(given[name], axes) for name in ("stride", "dilation"))
    pads = find_pads(given["padding"], dilation, weight.shape[2:])
    if kind == "transposed":
        return LayerForm("transposed", stride, pads, dilation, given["groups"])
    return LayerForm("convolution", stride, pads, dilation, given["groups"])


def find_pads(padding: int | str | Sequence[int], dilation: Sequence[int], kernel: Sequence[int]) -> Pads:
    """Find how many zeros a convolution's padding, as torch takes it, puts before and behind each axis."""
    if padding == "same":
        spans = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
        return tuple((span // 2, span - span // 2) for span in spans)
    if isinstance(padding, str):  # "valid"
        return ((0, 0),) * len(kernel)
    return tuple((pad, pad) for pad in _per_axis(padding, len(kernel)))


def _per_axis(value: Any, axes: int) -> tuple[int, ...]:
    numbers = (value,) if isinstance(value, int) else tuple(value)
    return numbers * axes if len(numbers) == 1 else numbers


def nodes_of(flat: Flat, name: str | None) -> list[Node]:
    """The places where a weight, buffer or constant enters the operators."""
    return [node for node, constant in flat.constants.items() if constant == name]


def list_norms(flat: Flat) -> dict[tuple[str, str], Node]:
    """Running mean and variance -> the only operator that reads them, a batch norm."""
    norms: dict[tuple[str, str], Node] = {}
    for node in flat.nodes:
        names = [flat.constants.get(each) for each in node.args[3:5] if isinstance(each, Node)]
        mean, variance = names if len(names) == 2 else (None, None)
        readers = {user for name in (mean, variance) for each in nodes_of(flat, name) for user in each.users}
        if node.target is BATCH_NORM and mean is not None and variance is not None and readers == {node}:
            norms[mean, variance] = node
    return norms


def find_norm(flat: Flat, calls: Sequence[Node]) -> NormBehind | None:
    """The batch norm that a layer, called once, feeds directly and alone."""
    norm = only_user(calls[0]) if len(calls) == 1 else None
    if norm is None or norm.target is not BATCH_NORM or norm.args[0] is not calls[0]:
        return None
    given = bind_arguments(norm)
    names = {key: flat.constants.get(given[key]) for key in ("weight", "running_mean", "running_var")
             if isinstance(given[key], Node)}  # fmt: skip
    mean, variance = names.get("running_mean"), names.get("running_var")
    if mean is None or variance is None or sum(len(node.users) for node in nodes_of(flat, mean)) != 1:
        return None
    if given["weight"] is not None and names.get("weight") is None:
        return None
    return NormBehind(mean, variance, names.get("weight"), float(given["eps"]))


def find_bias(flat: Flat, calls: Sequence[Node]) -> tuple[str | None, bool]:
    """The name of the bias that a layer's calls add (None: they add none), and whether nothing else reads it."""
    bias = bind_arguments(calls[0]).get("bias")
    name = flat.constants.get(bias) if isinstance(bias, Node) else None
    return name, {user for node in nodes_of(flat, name) for user in node.users} <= set(calls)


def find_stream(flat: Flat, calls: Sequence[Node]) -> Node | None:
    """What a layer's output (behind its norm) is added to, if that is all that is done with it and known before it."""
    if len(calls) != 1:
        return None
    behind = calls[0]
    if find_norm(flat, calls) is not None:
        norm = only_user(behind)
        assert norm is not None
        behind = norm
    add = only_user(behind)
    if add is None or str(add.target) not in ADDS or bind_arguments(add)["alpha"] != 1:
        return None
    others = [each for each in (bind_arguments(add)["self"], bind_arguments(add)["other"]) if each is not behind]
    other = others[0] if len(others) == 1 else None
    if not isinstance(other, Node) or other not in flat.moving or flat.places[other] > flat.places[calls[0]]:
        return None
    shapes = {_shape_of(each) for each in (behind, other)}
    return other if len(shapes) == 1 else None


def _shape_of(node: Node) -> tuple[int, ...]:
    """The shape of an activation."""
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def only_user(node: Node) -> Node | None:
    """The operator that alone reads an activation; None: there are several, or none."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def frontier_before(flat: Flat, call: Node) -> tuple[Node, ...]:
    """The activations that are alive before an operator."""
    place = flat.places[call]
    return flat.frontiers[place - 1] if place else (flat.image,)
