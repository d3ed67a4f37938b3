"""A pretended GPU: tensors that compute on the CPU, say that they lie elsewhere, and refuse to meet a CPU tensor.

Where no GPU can be used, this finds every tensor that was made in the wrong place. A real second device of torch needs
a driver, and FakeTensorMode cannot answer `float(loss)`; a wrapper can. torch's `lazy` device stands in for `cuda`: it
has a place in the dispatcher and no driver that torch would look for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

GPU = torch.device("lazy", 0)
CROSSING = {"_to_copy", "copy_", "_copy_from"}
"""Operators that may take tensors of two places, as on a real GPU."""
INDEXED = {"index", "index_put_", "index_put", "_index_put_impl_", "_unsafe_index"}
"""Operators whose indices may lie on the CPU."""


class WrongPlace(AssertionError):
    """A tensor of the CPU met one of the pretended GPU."""


class OnGpu(Tensor):
    """A tensor on the pretended GPU; `held` is what it really is."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnGpu:
        made: OnGpu = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=GPU, requires_grad=held.requires_grad,
        )  # fmt: skip
        made.held = held.detach()
        return made

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"OnGpu({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


class PretendedGpu(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside, `tensor.to(GPU)` and `torch.zeros(..., device=GPU)` make tensors of the pretended GPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


def outside(work: Callable[..., Any]) -> Callable[..., Any]:
    """The same work without the pretended GPU: `torch.jit.trace` records nothing below a mode."""

    def do(*args: Any) -> Any:
        with _disable_current_modes():
            return work(*args)

    return do


def compute(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Run an operator on the CPU; its results lie where its inputs do, or where it is asked to put them."""
    tensors = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, Tensor)]
    on_gpu = any(isinstance(each, OnGpu) for each in tensors)
    asked = kwargs.get("device")
    if not on_gpu and asked != GPU:
        return func(*args, **kwargs)
    name = func._schema.name.partition("::")[2]
    _hold_together(name, args, tensors)
    real_args, real_kwargs = tree_map(_unwrapped, (args, dict(kwargs)))
    if asked == GPU:
        real_kwargs["device"] = torch.device("cpu")
    results = func(*real_args, **real_kwargs)
    if asked is not None and asked != GPU:  # `.cpu()`, or a twin on `meta`
        return results
    if name == "copy_":
        return args[0]
    return tree_map(_wrapped(_in_place(func, args)), results)


def _hold_together(name: str, args: tuple[Any, ...], tensors: list[Tensor]) -> None:
    if name in CROSSING:
        return
    if name in INDEXED:
        rest = [each for each in tree_flatten((args[0], args[2:]))[0] if isinstance(each, Tensor)]
        indices = [each for each in tree_flatten(args[1])[0] if isinstance(each, Tensor)]
        if any(isinstance(each, OnGpu) for each in indices) and not isinstance(args[0], OnGpu):
            raise WrongPlace(f"aten::{name}: a CPU tensor is indexed by one of the GPU")
        tensors = rest
    here = [each for each in tensors if not isinstance(each, OnGpu) and each.dim() > 0]
    if here and any(isinstance(each, OnGpu) for each in tensors):
        raise WrongPlace(f"aten::{name}: a CPU tensor {tuple(here[0].shape)} meets tensors of the GPU")


def _unwrapped(value: Any) -> Any:
    return value.held if isinstance(value, OnGpu) else value


def _in_place(func: Any, args: tuple[Any, ...]) -> dict[int, Tensor]:
    """What an operator that works in place gives back is its argument, not a new tensor."""
    return {id(each.held): each for each in tree_flatten(args)[0] if isinstance(each, OnGpu)}


def _wrapped(known: Mapping[int, Tensor]) -> Callable[[Any], Any]:
    def wrap(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return known.get(id(value)) if id(value) in known else OnGpu(value)

    return wrap
