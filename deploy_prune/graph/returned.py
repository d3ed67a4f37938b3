"""Finds the tensors in whatever a forward pass returned: objects that no tree walk opens as well."""

from __future__ import annotations

import gc
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import Tensor, nn

CLOSED = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, nn.Module, str, bytes, int, float)
"""What is not looked into: it leads to the program, or to the network itself, not to what was returned."""


def find_tensors(returned: Any) -> list[Tensor]:
    """Every tensor that can be reached from what a forward pass returned, each once."""
    tensors, seen, waiting = [], set[int](), [returned]
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, CLOSED):
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            tensors.append(item)
        else:
            waiting += gc.get_referents(item)
    return tensors
