"""Takes an ONNX model down to an older opset, operator by operator.

onnx's own `version_converter` (1.23.2) took none of eight networks from 18 to 17 that we tried (MobileNetV2 and V3,
EfficientNet-Lite0, ResNet-18, SqueezeNet, ShuffleNetV2, DenseNet-121, MNASNet): it leaves an attribute of 18 at
ReduceMean, which its checker then refuses, and knows no way back for Split, nor below 14 for Add and Relu. What changed
between 13 and 18 in the operators of a CNN fits into the tables below; any other operator that changed is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from deploy_prune.errors import ExportFailed

OLDEST_OPSET = 13
SAME_FORM = frozenset((
    "Add", "Sub", "Mul", "Div", "Pow", "Relu", "LeakyRelu", "PRelu", "CumSum", "Where", "Identity", "Shape",
    "GreaterOrEqual", "LessOrEqual", "BatchNormalization", "Pad", "Resize",
))  # fmt: skip
"""Operators that took on more types, or attributes whose default is what they did before."""


@dataclass(frozen=True, eq=False)
class Situation:
    """A node that has to be written for an older opset, and what is known of the tensors around it."""

    node: Any
    opset: int
    older: Any
    """The operator's schema there; None: it did not exist."""
    constants: dict[str, Any]
    """Initializers by name."""
    shapes: dict[str, tuple[int, ...]]
    """The shape of every tensor whose shape is fixed, by its name."""

    def refusal(self, reason: str) -> ExportFailed:
        """The error that names the operator, the node and the opset."""
        message = f"{self.node.op_type} ('{self.node.name}') cannot be written at opset {self.opset}: {reason}"
        return ExportFailed(message, hint="take a newer opset; 18 has everything")

    def constant(self, index: int) -> list[int] | None:
        """The whole numbers of an input; None: they are computed, or it is not given."""
        from onnx import numpy_helper

        name = self.node.input[index] if len(self.node.input) > index else ""
        tensor = self.constants.get(name)
        return None if tensor is None else [int(each) for each in numpy_helper.to_array(tensor).ravel()]


def lower_opset(model: Any, opset: int) -> Any:
    """The model at an older opset, with the same names, weights and shapes; `model` itself is changed.

    Raises:
        ExportFailed: names an operator that has no such form there.
    """
    from onnx import NodeProto

    graph = model.graph
    (own,) = (each for each in model.opset_import if each.domain in {"", "ai.onnx"})
    constants = {each.name: each for each in graph.initializer}
    known = (*graph.value_info, *graph.input, *graph.output)
    shapes = {each.name: shape for each in known if (shape := _read_shape(each)) is not None}
    nodes: list[NodeProto] = []
    for node in graph.node:
        nodes += _rewrite_node(node, (own.version, opset), constants, shapes)
    del graph.node[:]
    graph.node.extend(nodes)
    _forget_unused(graph, constants)
    own.version = opset
    return model


def _rewrite_node(
    node: Any, versions: tuple[int, int], constants: dict[str, Any], shapes: dict[str, tuple[int, ...]]
) -> list[Any]:
    newer, older = (_find_schema(node.op_type, version) for version in versions)
    if older is not None and newer.since_version == older.since_version:
        return [node]
    situation = Situation(node, versions[1], older, constants, shapes)
    if older is None:
        if node.op_type not in REPLACED:
            raise situation.refusal(f"the operator is newer (opset {newer.since_version})")
        return REPLACED[node.op_type](situation)
    if node.op_type in CHANGED:
        CHANGED[node.op_type](situation)
    elif node.op_type not in SAME_FORM:
        raise situation.refusal(f"it changed at opset {newer.since_version}")
    _forget_defaults(situation, newer)
    return [node]


def _find_schema(operator: str, opset: int) -> Any:
    """The operator's schema at an opset; None: it did not exist."""
    from onnx import defs

    try:
        return defs.get_schema(operator, opset)
    except defs.SchemaError:
        return None


def _read_shape(info: Any) -> tuple[int, ...] | None:
    sizes = info.type.tensor_type.shape.dim
    return tuple(each.dim_value for each in sizes) if all(each.HasField("dim_value") for each in sizes) else None


def _forget_defaults(situation: Situation, newer: Any) -> None:
    """Drop attributes that the older form lacks, where they ask for what it does anyway."""
    from onnx import helper

    node, older = situation.node, situation.older
    for attribute in list(node.attribute):
        if attribute.name in older.attributes:
            continue
        default = newer.attributes[attribute.name].default_value
        if not default.name or helper.get_attribute_value(attribute) != helper.get_attribute_value(default):
            raise situation.refusal(f"it has no '{attribute.name}' there")
        node.attribute.remove(attribute)
    if len(node.input) > older.max_input or len(node.output) > older.max_output:
        raise situation.refusal("it takes fewer inputs there")


def _forget(node: Any, name: str) -> Any:
    """Take an attribute away and give it; None: it is not there."""
    for attribute in node.attribute:
        if attribute.name == name:
            node.attribute.remove(attribute)
            return attribute
    return None


def _rewrite_reduction(situation: Situation) -> None:
    """Move the axes from an input to an attribute, which they were."""
    from onnx import helper

    node = situation.node
    if len(node.input) > 1 and node.input[1]:
        axes = situation.constant(1)
        if not axes:
            raise situation.refusal("its axes are computed")
        node.attribute.append(helper.make_attribute("axes", axes))
        _forget(node, "noop_with_empty_axes")
    del node.input[1:]


def _rewrite_reshape(situation: Situation) -> None:
    """A size of 0 meant "as before". A computed size is 0 for empty images alone, which no exported network takes."""
    sizes = situation.constant(1)
    if sizes is None or 0 not in sizes:
        _forget(situation.node, "allowzero")


def _rewrite_split(situation: Situation) -> None:
    """The number of parts was that of the outputs, all equal unless sizes are given."""
    from onnx import numpy_helper

    node = situation.node
    if _forget(node, "num_outputs") is None:
        return
    axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
    known = [situation.shapes.get(name) for name in node.output]
    sizes = [shape[axis] for shape in known if shape is not None]
    if len(sizes) < len(known):
        raise situation.refusal("the sizes of its parts are not known")
    if len(set(sizes)) > 1:
        name = f"{node.name}_sizes"
        situation.constants[name] = numpy_helper.from_array(np.array(sizes, np.int64), name)
        node.input.append(name)


def _replace_hard_swish(situation: Situation) -> list[Any]:
    """x * hard_sigmoid(x), as ONNX itself defines it."""
    from onnx import helper

    node = situation.node
    gate = f"{node.output[0]}_gate"
    return [
        helper.make_node("HardSigmoid", [node.input[0]], [gate], f"{node.name}_gate", alpha=1 / 6, beta=0.5),
        helper.make_node("Mul", [node.input[0], gate], [node.output[0]], node.name),
    ]


def _forget_unused(graph: Any, constants: dict[str, Any]) -> None:
    """Keep the initializers that a node or an output still refers to, new ones among them."""
    used = {name for node in graph.node for name in node.input} | {each.name for each in graph.output}
    # a node with a graph of its own may refer to anything
    nested = any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute)
    if nested:
        return
    kept = [constant for name, constant in constants.items() if name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
CHANGED: dict[str, Callable[[Situation], None]] = {
    **{f"Reduce{name}": _rewrite_reduction for name in REDUCTIONS},
    "Reshape": _rewrite_reshape,
    "Split": _rewrite_split,
}
"""Operators with another form, and what brings a node into it."""
REPLACED: dict[str, Callable[[Situation], list[Any]]] = {"HardSwish": _replace_hard_swish}
"""Operators that did not exist, and the nodes that do the same."""
