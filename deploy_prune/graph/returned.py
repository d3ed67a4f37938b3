"""Finds the tensors in whatever a forward pass returned: objects that no tree walk opens as well."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Mapping
from operator import attrgetter
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import SUPPORTED_NODES

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


def make_forms_known(returned: Any) -> None:
    """Let torch open the dataclasses that a forward pass returned, as it opens tuples; torch.export refuses others.

    Each gets the name that ExecuTorch writes it down by.
    """
    if isinstance(returned, Mapping):
        parts = list(returned.values())
    elif isinstance(returned, (list, tuple)):
        parts = list(returned)
    elif dataclasses.is_dataclass(returned) and not isinstance(returned, type):
        parts = [attrgetter(field.name)(returned) for field in dataclasses.fields(returned)]
        if type(returned) not in SUPPORTED_NODES:
            form = type(returned)
            torch.export.register_dataclass(form, serialized_type_name=f"{form.__module__}.{form.__qualname__}")
    else:
        parts = []
    for part in parts:
        make_forms_known(part)
