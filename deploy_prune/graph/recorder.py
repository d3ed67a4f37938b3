"""Runs a network once on meta tensors and records which labels meet: every ATen operator passes by here."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from deploy_prune.errors import TraceError
from deploy_prune.graph import meta
from deploy_prune.graph.labels import LOCKED, compact, constant
from deploy_prune.graph.ledger import Ledger
from deploy_prune.graph.recording import Recording
from deploy_prune.graph.returned import find_tensors
from deploy_prune.graph.rules import table
from deploy_prune.graph.rules.call import Call, tensors
from deploy_prune.graph.steps import are_alike, describe_step
from deploy_prune.graph.zeros import is_zero

_TORCH = str(Path(torch.__file__).parent) + "/"
_GRAPH = str(Path(__file__).parent) + "/"


class BrokenForward(TraceError):
    """The forward pass failed; `labels` are those of the operator that failed (or ran last)."""

    def __init__(self, message: str, recorder: Recorder) -> None:
        ledger = recorder.ledger
        super().__init__(f"the network cannot be run: {message}", hint=f"at {ledger.where}")
        touched = [compact(ledger.labels(tensor)).reshape(-1) for tensor in recorder.touched]
        self.where = ledger.where
        self.recording = ledger.recording
        self.labels = torch.cat(touched) if touched else constant(LOCKED, (0,))


def record(
    module: nn.Module, input_shapes: Sequence[tuple[int, ...]], *, whole_groups: Mapping[str, bool]
) -> Recording:
    """Trace `module` in eval mode at batch 1; the module itself is neither run nor changed.

    A grouped convolution is cut as `whole_groups` says for its weight, else in the finer way.

    Raises:
        BrokenForward: the forward pass fails, or decides by the values of its tensors.
        TraceError: the module cannot be copied, or returns no tensor.
    """
    twin, named = on_meta(module)
    recording = Recording(tensors=named)
    _run(twin, Ledger(recording, _list_constants(module), whole_groups), input_shapes, batch=1)
    return recording


def record_training(
    module: nn.Module, input_shapes: Sequence[tuple[int, ...]], before: Recording, *, whole_groups: Mapping[str, bool]
) -> Recording:
    """What a pass in training mode adds to `record`, such as auxiliary heads: both in one; `before`, where nothing.

    Raises:
        BrokenForward: the forward pass fails, or decides by the values of its tensors.
        TraceError: the module cannot be copied, or returns no tensor.
    """
    twin, named = on_meta(module)
    both = before.fork()
    both.tensors, both.steps, both.results = named, [], []
    # Two images: a norm over a batch of one image of one pixel is refused by torch.
    _run(twin.train(), Ledger(both, _list_constants(module), whole_groups), input_shapes, batch=2)
    if are_alike(before.steps, both.steps):
        return before
    known = {layer.weight for layer in before.layers}
    both.training_layers = [layer for layer in both.layers if layer.weight not in known]
    both.training_steps = both.steps
    both.layers, both.fixed_macs = before.layers, before.fixed_macs
    both.steps, both.results = before.steps, before.results
    return both


def _list_constants(module: nn.Module) -> dict[str, Tensor]:
    """The tensors that hold no weights, such as index maps, with their content."""
    return {name: tensor.cpu() for name, tensor in _named_tensors(module) if not tensor.is_floating_point()}


def _run(twin: nn.Module, ledger: Ledger, input_shapes: Sequence[tuple[int, ...]], *, batch: int) -> None:
    """Run a network on meta; the ledger's recording then says what met in it."""
    recorder = Recorder(ledger)
    precision = next((each.dtype for each in twin.parameters() if each.is_floating_point()), None)
    inputs = [torch.empty((batch, *shape), dtype=precision, device="meta") for shape in input_shapes]
    with torch.no_grad(), _explain_failures(recorder), recorder:
        returned = twin(*inputs)
    outputs = find_tensors(returned)
    if not outputs:
        message = f"the network returns a {type(returned).__name__} in which there is no tensor"
        raise TraceError(message, hint="let its forward return a tensor, or a tuple, list or dictionary of tensors")
    for output in outputs:
        ledger.lock(ledger.labels(output), "model output")


def on_meta(module: nn.Module, *, integers: bool = True) -> tuple[nn.Module, dict[str, Tensor]]:
    """A copy in eval mode whose tensors have shapes but no data, and those tensors by name.

    With `integers=False` integer tensors (index maps) keep their data.
    """
    memo: dict[int, Tensor] = {}
    named: dict[str, Tensor] = {}
    for name, tensor in _named_tensors(module):
        if not (integers or tensor.is_floating_point()):
            continue
        ghost = torch.empty_like(tensor, device="meta")
        memo[id(tensor)] = nn.Parameter(ghost, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else ghost
        named[name] = memo[id(tensor)]
    try:
        return copy.deepcopy(module, memo).eval(), named
    except (RuntimeError, TypeError) as error:
        hint = "a module must survive copy.deepcopy: keep no activations or handles in it"
        raise TraceError(f"the network cannot be copied: {error}", hint=hint) from error


def _named_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


@contextmanager
def _explain_failures(recorder: Recorder) -> Iterator[None]:
    """Raise any failure of the user's forward with the operator that it happened at."""
    try:
        yield
    except TraceError:
        raise
    except Exception as error:
        message = str(error).splitlines()[0] if str(error) else ""
        raise BrokenForward(f"{type(error).__name__}: {message}", recorder) from error


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Gives every operator's result its labels, by the rules of `rules/`."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ledger = ledger
        self.touched: list[Tensor] = []
        self._alive: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator on meta, then label what it returned."""
        del types
        given = args
        kwargs = kwargs or {}
        if not all(each.is_meta for each in tensors((args, kwargs))):
            args, kwargs = tree_map(_to_meta, (args, kwargs))
        self.ledger.where = f"{func} {_find_source()}"
        self.touched = tensors((args, kwargs))
        result = meta.run(func, args, kwargs)
        call = Call(func, args, kwargs, result)
        self.ledger.recording.steps.append(describe_step(self.ledger, call, given))
        labelled = table.apply(self.ledger, call)
        self.ledger.recording.results.append(tuple(labelled))
        self._alive.append((args, result))
        results = result if isinstance(result, tuple | list) else (result,)
        if self.touched and not func._schema.is_mutable and any(each.alias_info for each in func._schema.returns):
            for view in results:
                self.ledger.note_view(view, self.touched[0])
        zero = is_zero(self.ledger, call)
        for tensor, labels in zip(results, labelled, strict=False):
            if isinstance(tensor, Tensor):
                self.ledger.note_zero(tensor, zero=zero)
                self.ledger.label(tensor, labels, in_place=func._schema.is_mutable)
        return result


def _to_meta(item: Any) -> Any:
    return item.to("meta") if isinstance(item, Tensor) and item.device.type != "meta" else item


def _find_source() -> str:
    """Say where the operator was called: the innermost line of the network's own code that is not torch's."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.startswith((_TORCH, "<")):
        frame = frame.f_back
    if frame is None or frame.f_code.co_filename.startswith(_GRAPH):  # no forward between us and torch
        return "in a module of torch"
    return f"at {_shorten(frame.f_code.co_filename)}:{frame.f_lineno}"


@cache
def _shorten(filename: str) -> str:
    """Leave out the folders of a path that differ from machine to machine."""
    parts = Path(filename).parts
    return "/".join(parts[-3:] if "site-packages" in parts else parts[-2:])
