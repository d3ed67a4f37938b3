"""What a network's forward returned: one tensor, or several in a tuple, a list or a dictionary, kept in its form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
        raise ConfigError(message, hint="let its forward return a tensor, or a tuple, list or dictionary of tensors")
    return first


def are_class_scores(tensor: Tensor) -> bool:
    """Whether an output is one row of scores per image, (images, classes), of two classes or more."""
    return tensor.dim() == 2 and tensor.shape[1] > 1
