"""Tensors are found in whatever a forward pass returns, and nothing else is."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deploy_prune.graph.returned import find_tensors


@dataclass
class Out:
    logits: Tensor
    rest: Any = None


class Slotted:
    __slots__ = ("logits",)

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


Named = namedtuple("Named", "logits")
ONE = torch.zeros(1)
RETURNED = {
    "a tensor": ONE,
    "a tuple": (1, ONE),
    "a named tuple": Named(ONE),
    "a dictionary in a list": [{"a": {"b": ONE}}],
    "a dataclass": Out(ONE),
    "a namespace in a dataclass": Out(None, SimpleNamespace(x=ONE)),  # type: ignore[arg-type]
    "slots": Slotted(ONE),
    "what also holds the network": Out(ONE, nn.Linear(2, 2)),
    "the same twice": [ONE, Out(ONE)],
    "a circle": None,
}


@pytest.mark.parametrize("name", RETURNED)
def test_every_tensor_is_found_once(name: str) -> None:
    returned = RETURNED[name]
    if returned is None:
        returned = Out(ONE)
        returned.rest = returned
    assert [id(each) for each in find_tensors(returned)] == [id(ONE)]


def test_functions_and_modules_lead_nowhere() -> None:
    held = torch.ones(2)
    assert find_tensors([lambda: held, torch, Out, "text", 3]) == []
