"""Writes .pte files with ExecuTorch, everything that XNNPACK takes lowered to it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.fx import Graph

from deploy_prune.errors import MissingDependency
from deploy_prune.exporting.app_interface import as_called
from deploy_prune.exporting.converter import vendor_errors
from deploy_prune.exporting.exporters import PLAIN, Exporter
from deploy_prune.exporting.fold_norms import folded
from deploy_prune.exporting.metadata import facts, label_lines
from deploy_prune.values import AppForm, Layout, Network, Precision

PATTERNS: Mapping[str, tuple[str, Any, tuple[str, ...]]] = {
    "bilinear_2d": ("_get_bilinear_2d_graphs", {}, ("upsample", "interpolate", "index")),
    "sdpa": ("get_graphs", [], ("softmax", "scaled_dot_product")),
}
"""XNNPACK's module of a pattern: the function that builds it, what that gives for none, and parts of the names of the
operators without which it cannot be there."""


@dataclass(frozen=True)
class ExecuTorch:
    """One .pte file at batch 1 with the weights inside; what XNNPACK lacks runs on ExecuTorch's own kernels.

    What is known of preprocessing and labels (see `facts`) is in methods without inputs: `get_mean`, `get_labels` (a
    label per line), ..., and names that were asked for in `get_input_names` and `get_output_names`, as the format names
    no tensors.
    """

    suffix: ClassVar[str] = ".pte"
    runtime: ClassVar[str] = "executorch"
    camera_layout: ClassVar[Layout] = "nhwc"

    @property
    def layout(self) -> Layout:
        """That of torch; inside, XNNPACK is channels last and transposes once."""
        return "nchw"

    @property
    def dynamic_batch(self) -> bool:
        """Memory is planned for one size. An upper bound could be given, but a file does not tell that it is one."""
        return False

    @property
    def precision(self) -> Precision:
        """As the network."""
        return "fp32"

    def version(self) -> str:
        """Converter and version. Raises MissingDependency where it is not installed."""
        try:
            return f"executorch {version('executorch')}, torch {torch.__version__.partition('+')[0]}"
        except PackageNotFoundError as error:
            raise MissingDependency("executorch", "executorch") from error

    def write(self, network: Network, path: Path, form: AppForm = PLAIN) -> None:
        """Convert in eval mode and write one file.

        Raises:
            ExportFailed: NaN in the weights, or ExecuTorch refuses the network.
            MissingDependency: executorch is not installed.
        """
        module, inputs = as_called(network, form, camera_layout=self.camera_layout)
        with vendor_errors(self.version(), network):
            content = _program(module, inputs, self._constants(network, form))
        path.write_bytes(content)

    def _constants(self, network: Network, form: AppForm) -> dict[str, Any]:
        """Method -> what it returns. Labels are one text of lines: a text per label would take 100 bytes each."""
        known: dict[str, Any] = facts(network, form, self.camera_layout if form.bake else self.layout)
        known |= {"labels": label_lines(form)} if form.labels else {}
        known |= {"input_names": form.input_names} if form.input_names else {}
        known |= {"output_names": form.output_names} if form.output_names else {}
        return {f"get_{name}": list(value) if isinstance(value, tuple) else value for name, value in known.items()}


def _program(module: nn.Module, inputs: tuple[Tensor, ...], constants: Mapping[str, Any]) -> bytes:
    """The bytes of the .pte file."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    exported = torch.export.export(folded(module, inputs), inputs)
    partitioner = [XnnpackPartitioner()]
    with _without_unused_patterns(exported.graph):
        lowered = to_edge_transform_and_lower(exported, partitioner=partitioner, constant_methods=dict(constants))
    content: bytes = lowered.to_executorch().buffer
    return content


@contextmanager
def _without_unused_patterns(graph: Graph) -> Iterator[None]:
    """XNNPACK's passes export examples of what they look for, a third of the time; spared where it cannot be there."""
    operators = " ".join(str(node.target) for node in graph.nodes)
    with ExitStack() as stack:
        for name, (function, nothing, signs) in PATTERNS.items():
            module = importlib.import_module(f"executorch.backends.xnnpack.partition.graphs.{name}")
            if function in vars(module) and not any(sign in operators for sign in signs):
                stack.enter_context(patch.object(module, function, lambda nothing=nothing: nothing))
        yield


plugin: type[Exporter] = ExecuTorch
