"""One operator as it was called, and what happens to labels when nobody taught us the operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from deploy_prune.graph.labels import LOCKED, constant
from deploy_prune.graph.ledger import Ledger


@dataclass(frozen=True, eq=False)
class Call:
    """One operator as it was called."""

    func: Any
    """The ATen operator."""
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Any
    """What it returned on meta: a tensor, or several."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the (first) result."""
        first = self.result[0] if isinstance(self.result, tuple | list) else self.result
        return tuple(first.shape)

    def axis(self, position: int, dimensions: int) -> int:
        """The argument `dim`, at this position or by name, counted from the front."""
        axis = self.args[position] if len(self.args) > position else self.kwargs.get("dim", 0)
        return int(axis) % dimensions


Rule = Callable[[Ledger, Call], Sequence[Tensor]]
"""Gives the labels of each result, in its shape."""


def lock_unknown(ledger: Ledger, call: Call, *, why: str = "operator not known") -> Sequence[Tensor]:
    """Lock whatever an operator reads that nobody taught us, or not in this use."""
    for tensor in tensors((call.args, call.kwargs)):
        ledger.lock(ledger.labels(tensor), f"{why}: {ledger.where}")
    return everywhere(LOCKED, call)


def tensors(tree: Any) -> list[Tensor]:
    """Every tensor among the arguments, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    return [tensor for each in tree for tensor in tensors(each)] if isinstance(tree, list | tuple) else []


def everywhere(value: int, call: Call) -> Sequence[Tensor]:
    """One label for all elements of all results."""
    results = call.result if isinstance(call.result, tuple | list) else (call.result,)
    return [constant(value, item.shape if isinstance(item, Tensor) else ()) for item in results]
