"""Writes .onnx files with torch's own exporter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from torch.export import Dim, ExportedProgram, ShapesCollection, export

from deploy_prune.errors import ConfigError
from deploy_prune.exporting.converter import find_version
from deploy_prune.exporting.exporters import PLAIN, Calibration, Exporter
from deploy_prune.exporting.metadata import collect_facts, write_as_text
from deploy_prune.exporting.rewriting.rewrite import rewrite
from deploy_prune.exporting.steps import Asked, Draft, Step, write_in_steps
from deploy_prune.formats.onnx_opsets import OLDEST_OPSET, lower_opset
from deploy_prune.formats.onnx_padding import fold_padding
from deploy_prune.formats.tensor_names import give_names
from deploy_prune.train.outputs import list_tensors
from deploy_prune.values import FP32, AppForm, Layout, Network, Precision
from deploy_prune.version import __version__

EXPORTED_OPSET = 18
"""The oldest that torch's exporter emits; what is older is made of it (see `onnx_opsets`)."""


@dataclass(frozen=True)
class Onnx:
    """One .onnx file with the weights inside, batch norms folded into the convolutions.

    `metadata_props` holds what is known of preprocessing and labels (see `collect_facts`). The version of the file
    format is the oldest that has the opset: torch writes a newer one, which ONNX Runtime refuses before 1.18.
    """

    suffix: ClassVar[str] = ".onnx"
    runtime: ClassVar[str] = "onnxruntime"
    camera_layout: ClassVar[Layout] = "nhwc"
    precisions: ClassVar[tuple[Precision, ...]] = (FP32,)

    opset: int = EXPORTED_OPSET
    """13 (ONNX Runtime 1.6, 2020) or newer."""
    dynamic_batch: bool = False
    """Take any batch size instead of 1."""

    def __post_init__(self) -> None:
        if self.opset < OLDEST_OPSET:
            message = f".onnx files cannot be written at opset {self.opset}"
            raise ConfigError(message, hint=f"give {OLDEST_OPSET} or newer, or leave it out")

    @property
    def layout(self) -> Layout:
        """ONNX's convolutions are channels first."""
        return "nchw"

    def version(self) -> str:
        """Converter and version. Raises MissingDependency where it is not installed."""
        find_version("onnx", extra="onnx")
        onnxscript = find_version("onnxscript", extra="onnx")
        return f"torch.onnx {torch.__version__.partition('+')[0]}, onnxscript {onnxscript}"

    def write(self, network: Network, path: Path, form: AppForm = PLAIN, *,
              precision: Precision = FP32, calibration: Calibration = None) -> None:  # fmt: skip
        """Convert in eval mode and write one file; see `Exporter.write`."""
        write_in_steps(STEPS, Asked(self, network, form, precision, calibration), path)


def trace(draft: Draft[Onnx]) -> Draft[Onnx]:
    """Export the module to torch's graph of operators, in forms that ONNX has."""
    program = _export(draft, draft.module)
    graph: Any = program.module(check_guards=False)
    rewritten = rewrite(graph, Onnx.suffix)
    return replace(draft, model=program if rewritten is graph else _export(draft, rewritten))


def _export(draft: Draft[Onnx], module: nn.Module) -> ExportedProgram:
    batch, shapes = Dim("batch", min=1), ShapesCollection()  # type: ignore[no-untyped-call]
    if draft.asked.exporter.dynamic_batch:
        for tensor in draft.inputs:
            shapes[tensor] = {0: batch}
    return export(module, draft.inputs, dynamic_shapes=shapes)


def convert(draft: Draft[Onnx]) -> Draft[Onnx]:
    """Convert the graph, batch norms folded and tensors named; the model is ONNX's `ModelProto`."""
    exporter, form = draft.asked.exporter, draft.asked.form
    outputs = len(list_tensors(draft.module(*draft.inputs)))
    program: Any = torch.onnx.export(
        draft.model,
        dynamo=True,
        opset_version=max(exporter.opset, EXPORTED_OPSET),
        input_names=give_names("input", form.input_names, len(draft.inputs)),
        output_names=give_names("output", form.output_names, outputs),
        verbose=False,
    )
    return replace(draft, model=program.model_proto)


def forget_sources(draft: Draft[Onnx]) -> Draft[Onnx]:
    """Drop the stack traces that torch notes at every node: they name the exporting machine's folders."""
    graph = draft.model.graph
    graph.ClearField("metadata_props")
    for part in (graph.node, graph.input, graph.output, graph.value_info, graph.initializer):
        for entry in part:
            entry.ClearField("metadata_props")
            entry.ClearField("doc_string")
    return draft


def fold_pads(draft: Draft[Onnx]) -> Draft[Onnx]:
    """Leave no zero padding before a convolution, which can pad by itself."""
    return replace(draft, model=fold_padding(draft.model))


def take_down_opset(draft: Draft[Onnx]) -> Draft[Onnx]:
    """Write the model at an opset older than torch writes, where one is asked for."""
    opset = draft.asked.exporter.opset
    return draft if opset >= EXPORTED_OPSET else replace(draft, model=lower_opset(draft.model, opset))


def describe(draft: Draft[Onnx]) -> Draft[Onnx]:
    """Say who made the file and what is known of it, in the oldest version of the format that has the opset."""
    from onnx import helper

    model, asked = draft.model, draft.asked
    model.producer_name, model.producer_version = "deploy-prune", __version__
    helper.set_model_props(model, write_as_text(collect_facts(asked.network, asked.form, asked.layout)))
    oldest = helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)
    model.ir_version = min(model.ir_version, oldest)
    return draft


def check(draft: Draft[Onnx]) -> Draft[Onnx]:
    """Have onnx's own checker read the model, shapes included."""
    import onnx

    onnx.checker.check_model(draft.model, full_check=True)
    return draft


def serialise(draft: Draft[Onnx]) -> Draft[Onnx]:
    """The bytes of the file."""
    return replace(draft, content=draft.model.SerializeToString())


STEPS: tuple[Step[Onnx], ...] = (trace, convert, forget_sources, fold_pads, take_down_opset, describe, check, serialise)
plugin: type[Exporter] = Onnx
