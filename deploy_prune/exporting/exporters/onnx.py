"""Writes .onnx files with torch's own exporter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from deploy_prune.errors import ConfigError, MissingDependency
from deploy_prune.exporting.app_interface import as_called
from deploy_prune.exporting.converter import tensors_of, vendor_errors
from deploy_prune.exporting.exporters import PLAIN, Exporter
from deploy_prune.exporting.metadata import Fact, as_text, facts
from deploy_prune.formats.onnx_opsets import OLDEST_OPSET, lowered
from deploy_prune.formats.tensor_names import names
from deploy_prune.values import AppForm, Layout, Network, Precision
from deploy_prune.version import __version__

EXPORTED_OPSET = 18
"""The oldest that torch's exporter emits; what is older is made of it (see `onnx_opsets`)."""


@dataclass(frozen=True)
class Onnx:
    """One .onnx file with the weights inside, batch norms folded into the convolutions.

    `metadata_props` holds what is known of preprocessing and labels (see `facts`). The version of the file format is
    the oldest that has the opset: torch writes a newer one, which ONNX Runtime refuses before 1.18.
    """

    suffix: ClassVar[str] = ".onnx"
    runtime: ClassVar[str] = "onnxruntime"
    camera_layout: ClassVar[Layout] = "nhwc"

    opset: int = EXPORTED_OPSET
    """13 (ONNX Runtime 1.6, 2020) or newer."""
    dynamic_batch: bool = False
    """Take any batch size instead of 1."""

    def __post_init__(self) -> None:
        if self.opset < OLDEST_OPSET:
            raise ConfigError(f"opset {self.opset} of onnx", hint=f"{OLDEST_OPSET} or newer")

    @property
    def layout(self) -> Layout:
        """ONNX's convolutions are channels first."""
        return "nchw"

    @property
    def precision(self) -> Precision:
        """As the network."""
        return "fp32"

    def version(self) -> str:
        """Converter and version. Raises MissingDependency where it is not installed."""
        try:
            return f"torch.onnx {torch.__version__.partition('+')[0]}, onnxscript {version('onnxscript')}"
        except PackageNotFoundError as error:
            raise MissingDependency("onnxscript", "onnx") from error

    def write(self, network: Network, path: Path, form: AppForm = PLAIN) -> None:
        """Convert in eval mode, check and write one file.

        Raises:
            ExportFailed: NaN in the weights, the exporter refuses the network, or an operator has no form at the opset.
            MissingDependency: onnx or onnxscript is not installed.
        """
        # torch.export takes a batch of 1 for a constant, so that a free batch is traced with 2
        batch = 2 if self.dynamic_batch else 1
        module, inputs = as_called(network, form, camera_layout=self.camera_layout, batch=batch)
        try:
            import onnx
            import onnxscript  # noqa: F401 - torch imports it deep inside, where its absence reads badly
        except ModuleNotFoundError as error:
            raise MissingDependency(error.name or "onnx", "onnx") from error
        with vendor_errors(self.version(), network):
            model = self._convert(module, inputs, form)
            if self.opset < EXPORTED_OPSET:
                model = lowered(model, self.opset)
            _describe(model, facts(network, form, self.camera_layout if form.bake else self.layout))
            onnx.checker.check_model(model, full_check=True)
            content = model.SerializeToString()
        path.write_bytes(content)

    def _convert(self, module: nn.Module, inputs: tuple[Tensor, ...], form: AppForm) -> Any:
        outputs = len(tensors_of(module(*inputs)))
        batch = torch.export.Dim("batch", min=1)
        program: Any = torch.onnx.export(
            module,
            inputs,
            dynamo=True,
            opset_version=max(self.opset, EXPORTED_OPSET),
            input_names=names("input", form.input_names, len(inputs)),
            output_names=names("output", form.output_names, outputs),
            dynamic_shapes=tuple({0: batch} for _ in inputs) if self.dynamic_batch else None,
            verbose=False,
        )
        model = program.model_proto
        _forget_sources(model.graph)
        return model


def _describe(model: Any, known: Mapping[str, Fact]) -> None:
    """Say who made the file and what is known of it."""
    from onnx import helper

    model.producer_name, model.producer_version = "deploy-prune", __version__
    helper.set_model_props(model, as_text(known))
    oldest = helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)
    model.ir_version = min(model.ir_version, oldest)


def _forget_sources(graph: Any) -> None:
    """Drop the stack traces that torch notes at every node: they name the exporting machine's folders."""
    graph.ClearField("metadata_props")
    for part in (graph.node, graph.input, graph.output, graph.value_info, graph.initializer):
        for entry in part:
            entry.ClearField("metadata_props")
            entry.ClearField("doc_string")


plugin: type[Exporter] = Onnx
