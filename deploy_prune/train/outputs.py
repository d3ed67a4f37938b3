"""What a network's forward returned: one tensor, or several in a tuple, list, dictionary or dataclass, in that form."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from deploy_prune.errors import ConfigError

PLAIN = (type(None), bool, int, float, str)
"""What may stand beside tensors in what a forward returns; the same for every batch."""

Outputs = Any
"""What a forward returned: a tensor (images, ...), or several in whatever the network's author put them."""


def list_tensors(outputs: Outputs) -> tuple[Tensor, ...]:
    """The tensors of what a forward returned, in the order in which converters list them."""
    if isinstance(outputs, Tensor):
        return (outputs,)
    if isinstance(outputs, Mapping):
        return tuple(tensor for part in outputs.values() for tensor in list_tensors(part))
    if isinstance(outputs, (list, tuple)):
        return tuple(tensor for part in outputs for tensor in list_tensors(part))
    if dataclasses.is_dataclass(outputs):
        names = (field.name for field in dataclasses.fields(outputs))
        return tuple(tensor for name in names for tensor in list_tensors(attrgetter(name)(outputs)))
    return ()


def map_tensors(change: Callable[[Tensor], Tensor], outputs: Outputs) -> Outputs:
    """The same form with every tensor changed; what is no tensor stays."""
    return tree_map(lambda leaf: change(leaf) if isinstance(leaf, Tensor) else leaf, outputs)


def convert_to_fp32(outputs: Outputs) -> Outputs:
    """The outputs with every tensor of floating point in fp32."""
    return map_tensors(lambda tensor: tensor.float() if tensor.is_floating_point() else tensor, outputs)


def join_batches(parts: Sequence[Outputs]) -> Outputs:
    """The outputs of several batches as those of one: every tensor (images, ...) joined along its images."""
    if isinstance(parts[0], Tensor):
        return torch.cat(list(parts)).clone()
    leaves = [tree_flatten(part) for part in parts]
    columns = zip(*(flat for flat, _ in leaves), strict=True)
    return tree_unflatten([_join(column) for column in columns], leaves[0][1])


def _join(column: Sequence[Any]) -> Any:
    """One tensor of several, or the first of what stands beside them."""
    first = column[0]
    if isinstance(first, Tensor):
        return torch.cat(list(column)).clone()
    if list_tensors(first) or not isinstance(first, PLAIN):
        message = f"a network that returns a {type(first).__name__} cannot be judged"
        raise ConfigError(
            message, hint="let its forward return a tensor, or a tuple, list, dictionary or dataclass of tensors"
        )
    return first


def are_class_scores(tensor: Tensor, classes: int | None = None) -> bool:
    """Whether an output has a score for each class, of two classes or more, along its second axis.

    Args:
        tensor: the output, (images, ...).
        classes: how many the network says it has, at each position of the image where there are such; None: it does
            not say, and any row of numbers per image, (images, classes), is taken for scores.
    """
    if classes is None:
        return tensor.dim() == 2 and tensor.shape[1] > 1
    return tensor.dim() >= 2 and tensor.shape[1] == classes > 1
