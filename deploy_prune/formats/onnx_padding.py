"""Folds zero padding of ONNX models into the convolutions behind it, which take any padding on either side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

SPATIAL = 2
"""The first axis of an image that is no batch and no channel."""


def fold_padding(model: Any) -> Any:
    """Let convolutions of a `ModelProto` pad by themselves; the model is changed and returned."""
    graph = model.graph
    if any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute):
        return model  # a graph within may read any tensor of this one
    constants = {each.name: each for each in graph.initializer}
    made = {node.output[0]: node for node in graph.node if node.op_type == "Pad"}
    reads = Counter(name for node in graph.node for name in node.input)
    reads.update(each.name for each in graph.output)
    gone: list[Any] = []
    for node in graph.node:
        padding = made.get(node.input[0]) if node.op_type == "Conv" else None
        if padding is None or reads[node.input[0]] != 1 or not _is_plain(padding, node):
            continue
        if (pads := _read_pads(padding, constants)) is not None:
            _add_pads(node, pads)
            node.input[0] = padding.input[0]
            gone.append(padding)
    _remove(graph, gone)
    return model


def _is_plain(padding: Any, convolution: Any) -> bool:
    """Whether zeros go around all axes in order, and the convolution says its own padding in numbers."""
    mode = next((each.s for each in padding.attribute if each.name == "mode"), b"constant")
    axes = "".join(padding.input[3:])  # the fourth input lists them
    automatic = next((each.s for each in convolution.attribute if each.name == "auto_pad"), b"NOTSET")
    return mode == b"constant" and not axes and automatic == b"NOTSET"


def _read_pads(padding: Any, constants: Mapping[str, Any]) -> list[int] | None:
    """How many zeros go before and behind the spatial axes; None: it is known only later, or they are no zeros."""
    from onnx import numpy_helper

    given = [name for name in padding.input[1:] if name]
    if any(name not in constants for name in given):
        return None
    pads, *values = (numpy_helper.to_array(constants[name]).ravel().tolist() for name in given)
    rank = len(pads) // 2
    if any(map(any, values)) or any(pads[:SPATIAL] + pads[rank : rank + SPATIAL]) or min(pads) < 0:
        return None
    return [int(each) for each in pads[SPATIAL:rank] + pads[rank + SPATIAL :]]


def _add_pads(convolution: Any, pads: list[int]) -> None:
    """Pad by so much more: the beginnings of all spatial axes, then their ends."""
    from onnx import helper

    attribute = next((each for each in convolution.attribute if each.name == "pads"), None)
    if attribute is None:
        convolution.attribute.append(helper.make_attribute("pads", pads))
    else:
        attribute.ints[:] = [own + more for own, more in zip(attribute.ints, pads, strict=True)]


def _remove(graph: Any, nodes: list[Any]) -> None:
    """Take nodes out, and constants and shapes that nothing names any more."""
    for node in nodes:
        graph.node.remove(node)
    named = {name for node in graph.node for name in (*node.input, *node.output)}
    named.update(each.name for each in (*graph.input, *graph.output))
    for part in (graph.initializer, graph.value_info):
        for each in [each for each in part if each.name not in named]:
            part.remove(each)
