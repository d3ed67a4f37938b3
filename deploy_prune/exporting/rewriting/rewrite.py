"""Puts equal operators in place of those that a converter fails on, or that are read in two ways, before conversion.

`REWRITES` is the table. A form is a function of torch, exact but for rounding; whether a file computes the same,
verification judges as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.fx import GraphModule, Interpreter, Node

from deploy_prune.exporting.rewriting import forms, pooling
from deploy_prune.exporting.rewriting.call import Call, Form, read_call

TFLITE, ONNX, COREML, EXECUTORCH, COREAI = ".tflite", ".onnx", ".mlpackage", ".pte", ".aimodel"


@dataclass(frozen=True)
class Rewrite:
    """Operators of torch, and what is written in their place in some formats."""

    operators: tuple[str, ...]
    """The names of operators with their overloads, such as `max.dim`."""
    formats: tuple[str, ...]
    """The suffixes of the formats that it is for."""
    plan: Callable[[Call], Form | None]
    """Looks at a call and gives the form to put in its place, or None where the operator may stay."""


REWRITES: tuple[Rewrite, ...] = (
    # litert-torch refuses paddings, and takes one dimension for the wrong one; coremltools fails at output paddings
    Rewrite(
        ("conv_transpose1d.default", "conv_transpose2d.input", "conv_transpose3d.input"),
        (TFLITE, COREML),
        forms.crop_transposed,
    ),
    # litert-torch picks other pixels; Apple does not say which pixel is the nearest
    Rewrite(
        tuple(f"{kind}{space}d.vec" for kind in ("upsample_nearest", "_upsample_nearest_exact") for space in (1, 2, 3)),
        (TFLITE, COREML),
        forms.pick_nearest,
    ),
    # litert-torch turns channels last what reads an expanded weight, but not the weight
    Rewrite(("expand.default", "expand_as.default"), (TFLITE,), forms.repeat_expanded),
    # Apple does not say at which end "same" has the odd one of a dilated or even kernel
    Rewrite(("conv1d.padding", "conv2d.padding", "conv3d.padding"), (COREML,), forms.pad_same),
    # Core ML and ExecuTorch refuse negative padding; Core ML has none around a circle
    Rewrite(("pad.default", "constant_pad_nd.default"), (COREML, EXECUTORCH), forms.pad_in_turns),
    # LiteRT's power broadcasts in four dimensions at most
    Rewrite(("pow.Tensor_Scalar",), (TFLITE,), forms.raise_flat),
    # XNNPACK's partitioner takes any dimension, and its pass refuses all but the last two
    Rewrite(("max.dim",), (EXECUTORCH,), forms.part_largest),
    Rewrite(("min.dim",), (EXECUTORCH,), forms.part_smallest),
    # Core ML divides what hangs over by the whole window (apple/coremltools 2772), and pads in another way (1901)
    Rewrite(
        ("avg_pool1d.default", "avg_pool2d.default", "avg_pool3d.default"),
        (COREML,),
        pooling.average_padded,
    ),
    # ONNX has no divisor, and its runtimes differ in what they divide a window by that hangs over
    Rewrite(
        ("avg_pool1d.default", "avg_pool2d.default", "avg_pool3d.default"),
        (ONNX,),
        pooling.average_exactly,
    ),
    # where a last window would begin outside the image, litert-torch pads by a negative number, and onnx counts it
    Rewrite(
        ("avg_pool1d.default", "avg_pool2d.default", "avg_pool3d.default"),
        (TFLITE,),
        pooling.average_inside,
    ),
    Rewrite(
        ("max_pool1d.default", "max_pool2d.default", "max_pool3d.default"),
        (TFLITE, ONNX),
        pooling.compare_inside,
    ),
    # Core ML's pooling has no dilation
    Rewrite(
        ("max_pool1d.default", "max_pool2d.default", "max_pool3d.default"),
        (COREML,),
        pooling.compare_taps,
    ),
    # torch sets the strides of a channels-last mean by hand, which coreai-torch does not convert
    Rewrite(("adaptive_avg_pool2d.default",), (COREAI,), pooling.average_whole),
)


def rewrite(graph: GraphModule, suffix: str) -> nn.Module:
    """The same network with every operator in the form that one format needs; itself where nothing is to be replaced.

    Args:
        graph: what `torch.export` made of a network, with the shapes that it noted.
        suffix: the format's, such as `.tflite`.
    """
    plans = {name: row.plan for row in REWRITES if suffix in row.formats for name in row.operators}
    planned = {}
    for node in graph.graph.nodes:
        plan = plans.get(str(node.target).removeprefix("aten."))
        if plan and (form := plan(read_call(node))):
            planned[node] = form
    return _Rewritten(graph, planned) if planned else graph


class _Rewritten(nn.Module):
    """Runs a graph operator by operator with some of them replaced; a converter traces what runs."""

    def __init__(self, graph: GraphModule, planned: Mapping[Node, Form]) -> None:
        super().__init__()
        self.network = graph  # "graph" is a name that every GraphModule has for its own
        self._planned = planned

    def forward(self, *inputs: Any) -> Any:
        return _Replacing(self.network, self._planned).run(*inputs)


class _Replacing(Interpreter):
    """An interpreter that calls the planned forms in place of the operators."""

    def __init__(self, graph: GraphModule, planned: Mapping[Node, Form]) -> None:
        super().__init__(graph)
        self._planned = planned

    def run_node(self, n: Node) -> Any:
        """One operator, or its form."""
        if n not in self._planned:
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        return self._planned[n](*args, **kwargs)
