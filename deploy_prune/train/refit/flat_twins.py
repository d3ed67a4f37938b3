"""Both networks as flat lists of operators, each run part by part, once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor
from torch.fx import Node

from deploy_prune.graph.flat_network import Flat, Tensors, flatten
from deploy_prune.graph.surgery import Indices
from deploy_prune.train.cached_prefix import CACHE_BYTES, CachedPrefix
from deploy_prune.train.refit.forms import LayerForm
from deploy_prune.train.refit.twins import LayerValues, NormBehind, RefitLayer, kept_outputs
from deploy_prune.values import Network

NORM = "aten._native_batch_norm_legit_no_training.default"
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


class FlatTwins:
    """A cut network and its reference as flat networks, with the activations of both as far as they are final."""

    def __init__(
        self, small: Network, reference: Network, weights: Collection[str], kept: Indices, batches: Sequence[Tensor]
    ) -> None:
        """Write both networks' operators down, and begin at the images.

        Args:
            small: the cut network.
            reference: the network that says what its layers should give.
            weights: the names of all layers' weights.
            kept: parameter -> axis -> indices of the reference that the cut network has.
            batches: images, as many in each: (images, channels, ...).

        Raises:
            TraceError: torch.export cannot follow the network.
        """
        count = len(batches[0])
        self.small, self._reference = (flatten(each, weights, batch=count) for each in (small, reference))
        self._kept = kept
        self._here, self._there = CallsByWeight(self.small), CallsByWeight(self._reference)
        reasons = {weight: self._find_trouble(weight) for weight in weights}
        self.left_out: Mapping[str, str] = {weight: why for weight, why in reasons.items() if why}
        good = sorted((weight for weight in weights if not reasons[weight]), key=self._here.first_place)
        self.layers = tuple(self._describe(weight) for weight in good)
        limit = CACHE_BYTES // 2
        self._now = CachedPrefix(self.small, [self.small.images(each) for each in batches], limit_bytes=limit)
        there = [self._reference.images(each) for each in batches]
        self._before = CachedPrefix(self._reference, there, limit_bytes=limit)

    def read(self, layer: RefitLayer, tensors: Tensors) -> Callable[[int], LayerValues]:
        """Go on to this layer in both networks, and prepare to read it there."""
        here, there = self._here.calls[layer.weight], self._there.calls[layer.weight]
        tensors = {**self.small.tensors, **tensors}
        self._now.advance(_frontier_before(self.small, here[0]), tensors)
        self._before.advance(_frontier_before(self._reference, there[0]), self._reference.tensors)
        streams = self._streams(layer.weight)
        inputs = self._now.reader([*map(_input_of, here), *streams[:1]], tensors)
        outputs = self._before.reader([*there, *streams[1:]], self._reference.tensors)
        select = self._selector(layer)

        def values(number: int) -> LayerValues:
            given, wanted = inputs(number), outputs(number)
            pairs = zip(here, there, strict=True)
            calls = tuple((given[_input_of(one)], select(wanted[two])) for one, two in pairs)
            lost = select(wanted[streams[1]]) - given[streams[0]] if streams else None
            return LayerValues(calls, lost)

        return values

    def _streams(self, weight: str) -> tuple[Node, ...]:
        """What a layer's output is added to, in the cut network and in the reference; empty: nothing known before."""
        here, there = (
            _find_stream(self.small, self._here.calls[weight]),
            _find_stream(self._reference, self._there.calls[weight]),
        )
        return (here, there) if here is not None and there is not None else ()

    def _describe(self, weight: str) -> RefitLayer:
        flat, calls = self.small, self._here.calls[weight]
        form, bias = _form_of(calls[0], flat.tensors[weight]), _bound(calls[0]).get("bias")
        assert form
        name = flat.constants.get(bias) if isinstance(bias, Node) else None
        readers = {user for node in _nodes_of(flat, name) for user in node.users}
        joins = bool(self._streams(weight))
        return RefitLayer(weight, form, len(calls), name, readers <= set(calls), _find_norm(flat, calls), joins)

    def _selector(self, layer: RefitLayer) -> Callable[[Tensor], Tensor]:
        """A function that picks the channels that stay of an output of the reference's layer."""
        weight, axis = layer.weight, layer.form.channel_axis
        form = _form_of(self._there.calls[weight][0], self._reference.tensors[weight])
        assert form
        shape = tuple(self._reference.tensors[weight].shape)
        channels = kept_outputs(form, shape, self._kept.get(weight, {}))
        if channels is None:
            return lambda value: value
        there = channels.to(self._reference.device)
        return lambda value: value.index_select(axis, there)

    def _find_trouble(self, weight: str) -> str:
        """Why a layer cannot be refitted; empty: it can."""
        here, there = self._here.calls.get(weight, ()), self._there.calls.get(weight, ())
        if not here or not there:
            return "its weight is not used as it is"
        if len(here) != len(there):
            return "the cut network calls it another number of times"
        forms = {_form_of(call, self.small.tensors[weight]) for call in here}
        if None in forms or len(forms) > 1:
            return "it is not applied as a layer of one form"
        biases = {_bound(call).get("bias") for call in here}
        if len(biases) > 1 or not biases <= {None, *self.small.constants}:
            return "its bias is computed, or another at every call"
        return ""


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
            weight = _bound(node).get("weight") if str(node.target) in LAYERS else None
            for read in node.all_input_nodes:
                if read in names and read is weight:
                    by_weight.setdefault(names[read], []).append(node)
                elif read in names:
                    spoiled.add(names[read])
        return {name: tuple(nodes) for name, nodes in by_weight.items() if name not in spoiled}

    def first_place(self, weight: str) -> int:
        """Where the first of them is among the operators."""
        return self.flat.places[self.calls[weight][0]]


def _bound(node: Node) -> dict[str, Any]:
    """The arguments of an operator by the names that its schema gives them."""
    target: Any = node.target
    values = {argument.name: argument.default_value for argument in target._schema.arguments}
    values |= dict(zip(values, node.args, strict=False))
    return values | dict(node.kwargs)


def _input_of(call: Node) -> Node:
    """What a layer reads."""
    read: Node = _bound(call)["input"]
    return read


def _form_of(call: Node, weight: Tensor) -> LayerForm | None:
    """How an operator applies a weight; None: in no way that can be refitted."""
    kind, given = LAYERS[str(call.target)], _bound(call)
    value = given["input"].meta.get("val")
    if not isinstance(value, Tensor):
        return None
    if kind == "linear":
        return LayerForm("linear") if weight.dim() == 2 and value.dim() >= 2 else None
    if value.dim() != weight.dim():
        return None
    axes = weight.dim() - 2
    stride, dilation = (_per_axis(given[name], axes) for name in ("stride", "dilation"))
    spans = [step * (size - 1) for step, size in zip(dilation, weight.shape[2:], strict=True)]
    if given["padding"] == "same":
        pads = tuple((span // 2, span - span // 2) for span in spans)
    elif given["padding"] == "valid":
        pads = ((0, 0),) * axes
    else:
        pads = tuple((pad, pad) for pad in _per_axis(given["padding"], axes))
    if kind == "transposed":
        return LayerForm("transposed", stride, pads, dilation, given["groups"])
    return LayerForm("convolution", stride, pads, dilation, given["groups"])


def _per_axis(value: Any, axes: int) -> tuple[int, ...]:
    numbers = (value,) if isinstance(value, int) else tuple(value)
    return numbers * axes if len(numbers) == 1 else numbers


def _nodes_of(flat: Flat, name: str | None) -> list[Node]:
    return [node for node, constant in flat.constants.items() if constant == name]


def _find_norm(flat: Flat, calls: Sequence[Node]) -> NormBehind | None:
    """The batch norm that a layer, called once, feeds directly and alone."""
    norm = _only_user(calls[0]) if len(calls) == 1 else None
    if norm is None or str(norm.target) != NORM or norm.args[0] is not calls[0]:
        return None
    given = _bound(norm)
    names = {key: flat.constants.get(given[key]) for key in ("weight", "running_mean", "running_var")
             if isinstance(given[key], Node)}  # fmt: skip
    mean, variance = names.get("running_mean"), names.get("running_var")
    if mean is None or variance is None or sum(len(node.users) for node in _nodes_of(flat, mean)) != 1:
        return None
    if given["weight"] is not None and names.get("weight") is None:
        return None
    return NormBehind(mean, variance, names.get("weight"), float(given["eps"]))


def _find_stream(flat: Flat, calls: Sequence[Node]) -> Node | None:
    """What a layer's output (behind its norm) is added to, if that is all that is done with it and known before it."""
    if len(calls) != 1:
        return None
    behind = calls[0]
    if _find_norm(flat, calls) is not None:
        norm = _only_user(behind)
        picked = _only_user(norm) if norm is not None else None
        if picked is None:
            return None
        behind = picked
    add = _only_user(behind)
    if add is None or str(add.target) not in ADDS or _bound(add)["alpha"] != 1:
        return None
    others = [each for each in (_bound(add)["self"], _bound(add)["other"]) if each is not behind]
    other = others[0] if len(others) == 1 else None
    if not isinstance(other, Node) or other not in flat.moving or flat.places[other] > flat.places[calls[0]]:
        return None
    shapes = {_shape_of(each) for each in (behind, other)}
    return other if len(shapes) == 1 else None


def _shape_of(node: Node) -> tuple[int, ...]:
    """The shape of an activation."""
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def _only_user(node: Node) -> Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _frontier_before(flat: Flat, call: Node) -> tuple[Node, ...]:
    place = flat.places[call]
    return flat.frontiers[place - 1] if place else (flat.image,)
