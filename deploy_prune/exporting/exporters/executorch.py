"""Writes .pte files with ExecuTorch, everything that XNNPACK takes lowered to it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import torch
from torch.fx import Graph

from deploy_prune.exporting.converter import find_version
from deploy_prune.exporting.exporters import PLAIN, Calibration, Exporter
from deploy_prune.exporting.metadata import collect_facts, join_labels
from deploy_prune.exporting.steps import Asked, Draft, Step, fold_norms, rewrite_operators, write_in_steps
from deploy_prune.values import FP32, AppForm, Layout, Network, Precision

Patterns = Mapping[str, tuple[str, Any, tuple[str, ...]]]

PATTERNS: Patterns = {
    "bilinear_2d": ("_get_bilinear_2d_graphs", {}, ("upsample", "interpolate", "index")),
    "sdpa": ("get_graphs", [], ("softmax", "scaled_dot_product")),
}
"""XNNPACK's module of a pattern: the function that builds it, what that gives for none, and parts of the names of the
operators without which it cannot be there."""


@dataclass(frozen=True)
class ExecuTorch:
    """One .pte file at batch 1 with the weights inside; what XNNPACK lacks runs on ExecuTorch's own kernels.

    What is known of preprocessing and labels (see `collect_facts`) is in methods without inputs: `get_mean`,
    `get_labels` (a label per line), ..., and names that were asked for in `get_input_names` and `get_output_names`, as
    the format names no tensors.
    """

    suffix: ClassVar[str] = ".pte"
    runtime: ClassVar[str] = "executorch"
    camera_layout: ClassVar[Layout] = "nhwc"
    precisions: ClassVar[tuple[Precision, ...]] = (FP32,)

    @property
    def layout(self) -> Layout:
        """The layout is that of torch; inside, XNNPACK is channels last and transposes once."""
        return "nchw"

    @property
    def dynamic_batch(self) -> bool:
        """Memory is planned for one size. An upper bound could be given, but a file does not tell that it is one."""
        return False

    def version(self) -> str:
        """Converter and version. Raises MissingDependency where it is not installed."""
        executorch = find_version("executorch", extra="executorch")
        return f"executorch {executorch}, torch {torch.__version__.partition('+')[0]}"

    def write(self, network: Network, path: Path, form: AppForm = PLAIN, *,
              precision: Precision = FP32, calibration: Calibration = None) -> None:  # fmt: skip
        """Convert in eval mode and write one file; see `Exporter.write`."""
        write_in_steps(STEPS, Asked(self, network, form, precision, calibration), path)


def trace(draft: Draft[ExecuTorch]) -> Draft[ExecuTorch]:
    """Export the module to torch's graph of operators, which ExecuTorch begins with."""
    return replace(draft, model=torch.export.export(draft.module, draft.inputs))


def lower_to_xnnpack(draft: Draft[ExecuTorch], *, spared: Patterns = PATTERNS) -> Draft[ExecuTorch]:
    """Give XNNPACK every operator that it takes, and add what is known of the file as methods without inputs.

    The `spared` patterns are not looked for in a network that cannot have them.
    """
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    with _leave_out_unused_patterns(draft.model.graph, spared):
        edge = to_edge_transform_and_lower(
            draft.model, partitioner=[XnnpackPartitioner()], constant_methods=_describe(draft.asked)
        )
    return replace(draft, model=edge)


def serialise(draft: Draft[ExecuTorch]) -> Draft[ExecuTorch]:
    """The bytes of the program, with its memory planned."""
    return replace(draft, content=bytes(draft.model.to_executorch().buffer))


def _describe(asked: Asked[ExecuTorch]) -> dict[str, Any]:
    """Method -> what it returns. Labels are one text of lines: a text per label would take 100 bytes each."""
    form = asked.form
    known: dict[str, Any] = collect_facts(asked.network, form, asked.layout)
    known |= {"labels": join_labels(form)} if form.labels else {}
    known |= {"input_names": form.input_names} if form.input_names else {}
    known |= {"output_names": form.output_names} if form.output_names else {}
    return {f"get_{name}": list(value) if isinstance(value, tuple) else value for name, value in known.items()}


@contextmanager
def _leave_out_unused_patterns(graph: Graph, spared: Patterns) -> Iterator[None]:
    """XNNPACK's passes export examples of what they look for, a third of the time; spared where it cannot be there."""
    operators = " ".join(str(node.target) for node in graph.nodes)
    with ExitStack() as stack:
        for name, (function, nothing, signs) in spared.items():
            module = importlib.import_module(f"executorch.backends.xnnpack.partition.graphs.{name}")
            if function in vars(module) and not any(sign in operators for sign in signs):
                stack.enter_context(patch.object(module, function, lambda nothing=nothing: nothing))
        yield


STEPS: tuple[Step[ExecuTorch], ...] = (fold_norms, rewrite_operators, trace, lower_to_xnnpack, serialise)
plugin: type[Exporter] = ExecuTorch
