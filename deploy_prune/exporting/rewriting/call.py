"""One call of an operator in a network's graph, as those see it who plan what to put in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.fx import Node
from torch.fx.node import map_arg

Form = Callable[..., Any]
"""Gives what an operator gives, for the same arguments."""


@dataclass(frozen=True, eq=False)
class Call:
    """An operator with the arguments of one call; of tensors only the shapes and types are known."""

    operator: Any
    """The operator of torch, such as `torch.ops.aten.max.dim`."""
    arguments: Mapping[str, Any]
    """Every argument by torch's own name, with torch's default where the call leaves it out."""

    @property
    def image(self) -> Tensor:
        """The first argument, which is what the operator works on."""
        image: Tensor = next(iter(self.arguments.values()))
        return image

    def list_each(self, name: str, count: int) -> list[int]:
        """An argument that has a number per dimension, or one for all `count` of them."""
        numbers = [int(number) for number in self.arguments[name]]
        return numbers * count if len(numbers) == 1 else numbers


def read_call(node: Node) -> Call:
    """The call that a node of an exported graph makes."""
    args, kwargs = map_arg((node.args, node.kwargs), lambda each: each.meta["val"])
    return bind(node.target, *args, **kwargs)


def bind(operator: Any, *args: Any, **kwargs: Any) -> Call:
    """A call of an operator of torch with these arguments."""
    schema: Sequence[Any] = operator._schema.arguments
    known = {each.name: each.default_value for each in schema}
    known |= dict(zip([each.name for each in schema], args, strict=False))
    return Call(operator, known | kwargs)
