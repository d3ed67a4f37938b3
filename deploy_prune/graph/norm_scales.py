"""The batch norms whose scales (gamma) say how much a unit matters, and those that another linear scale follows.

Where nothing but linear operators lies between a norm and the next layer with weights (MobileNetV2's linear
bottlenecks), the same function has many gammas: a small one says nothing, as the next weights may be large.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from deploy_prune.graph import meta
from deploy_prune.graph.recorder import on_meta
from deploy_prune.values import ChannelGraph, Group

LINEAR = frozenset({
    "add", "add_", "sub", "sum", "mean", "avg_pool2d", "_adaptive_avg_pool2d", "adaptive_avg_pool2d",
    "cat", "stack", "split", "split_with_sizes", "unbind", "slice", "select", "narrow", "index", "index_select",
    "view", "_unsafe_view", "reshape", "flatten", "permute", "transpose", "t", "expand", "squeeze", "unsqueeze",
    "clone", "copy_", "contiguous", "alias", "detach", "constant_pad_nd", "pad", "roll", "pixel_shuffle",
})  # fmt: skip
"""Operators (without overload) that scale with their operands."""


@dataclass(frozen=True)
class Flow:
    """What norms and layers feed."""

    linear: frozenset[str]
    """Gammas that reach another layer's weights through linear operators alone."""
    norm_after: Mapping[str, str]
    """Weight of a layer -> gamma of the norm that alone it feeds directly."""
    once: frozenset[str]
    """Gammas of norms that are called once."""

    @property
    def foldable(self) -> tuple[tuple[str, str], ...]:
        """Layers (their weights) with the norm that is theirs alone (its gamma)."""
        return tuple((weight, gamma) for weight, gamma in self.norm_after.items() if gamma in self.once)


def trace_flow(module: nn.Module, input_shapes: Sequence[tuple[int, ...]]) -> Flow:
    """Run the network once on meta tensors and see what each norm's output meets first."""
    twin, named = on_meta(module)
    gammas = {id(named[name]): name for name in _gammas(module) if name in named}
    weights = {id(tensor): name for name, tensor in named.items() if id(tensor) not in gammas}
    watch = _Watch(gammas, weights)
    with torch.no_grad(), watch:
        twin(*(torch.empty((1, *shape), device="meta") for shape in input_shapes))
    alone = {weight: norms.pop() for weight, norms in watch.norms_after.items() if len(norms) == 1}
    once = frozenset(gamma for gamma, calls in watch.calls.items() if calls == 1)
    return Flow(frozenset(watch.linear), {weight: gamma for weight, gamma in alone.items() if gamma}, once)


def gammas_of(module: nn.Module, group: Group) -> tuple[tuple[str, Tensor], ...]:
    """Each gamma among a group's members, with its values per unit: shape (units, channels per unit)."""
    names, parameters = set(_gammas(module)), dict(module.named_parameters())
    return tuple(
        (member.parameter, parameters[member.parameter].detach()[torch.from_numpy(member.indices)])
        for member in group.members
        if member.parameter in names and member.axis == 0
    )


def trained_gammas(module: nn.Module, graph: ChannelGraph, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Free group -> its gammas among `names`; groups without are left out."""
    wanted = set(names)
    by_group = {
        group.name: tuple(name for name, _ in gammas_of(module, group) if name in wanted) for group in graph.free
    }
    return {name: gammas for name, gammas in by_group.items() if gammas}


def _gammas(module: nn.Module) -> list[str]:
    return [
        f"{name}.weight" if name else "weight"
        for name, child in module.named_modules()
        if isinstance(child, _BatchNorm) and child.weight is not None
    ]


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows what came out of norms and layers from operator to operator."""

    def __init__(self, gammas: Mapping[int, str], weights: Mapping[int, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._gammas, self._weights = gammas, dict(weights)
        self._scaled_by: dict[int, frozenset[str]] = {}
        """Tensor -> gammas whose scale it has."""
        self._made_by: dict[int, str] = {}
        """Tensor -> weight of the layer that it comes straight from."""
        self._alive: list[Any] = []
        self.linear: set[str] = set()
        self.norms_after: dict[str, set[str]] = {}
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator, then note what its result is scaled by."""
        del types
        result = meta.run(func, args, kwargs or {})
        tensors = [item for item in tree_flatten((args, kwargs or {}))[0] if isinstance(item, Tensor)]
        results = [item for item in tree_flatten(result)[0] if isinstance(item, Tensor)]
        self._alive.append((tensors, results))
        self._note(func._schema.name.partition("::")[2], tensors, results)
        return result

    def _note(self, operator: str, tensors: Sequence[Tensor], results: Sequence[Tensor]) -> None:
        gamma, weight = _first(tensors, self._gammas), _first(tensors, self._weights)
        for maker in {self._made_by[id(tensor)] for tensor in tensors if id(tensor) in self._made_by}:
            self.norms_after.setdefault(maker, set()).add(gamma)
        scaled = frozenset[str]().union(*(self._scaled_by.get(id(tensor), ()) for tensor in tensors))
        is_layer = bool(weight) and not gamma and operator not in LINEAR
        if gamma:
            self.calls[gamma] += 1
            scaled = frozenset([gamma])
        elif operator not in LINEAR:
            self.linear |= scaled if is_layer else frozenset()
            scaled = frozenset()
        for result in results:
            self._scaled_by[id(result)] = scaled
            self._made_by.pop(id(result), None)
            if is_layer:
                self._made_by[id(result)] = weight
            elif weight and len(tensors) == 1:  # a view of it, such as its transpose
                self._weights[id(result)] = weight


def _first(tensors: Sequence[Tensor], names: Mapping[int, str]) -> str:
    return next((names[id(tensor)] for tensor in tensors if id(tensor) in names), "")
