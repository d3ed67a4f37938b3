"""Folds zero padding of .tflite files into the convolutions behind it, where it is what the format calls SAME.

litert-torch writes the asymmetric padding of networks that TensorFlow trained as an operator of its own; a convolution
with `padding=SAME` does the same within itself. What PyTorch pads evenly before a stride of 2 is not SAME, and stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from deploy_prune.formats.tflite_graph import Pads, add_integers, add_kind, add_tensor, find_code, read_pads, view_graph

NONE: Pads = (0, 0)


def fold_padding(model: Any, schema: Any) -> Any:
    """Let convolutions of a model of the generated classes pad by themselves; the model is changed and returned."""
    graph, view, code = model.subgraphs[0], view_graph(model), schema.BuiltinOperator
    gone = set()
    for operator in view.operators:
        if find_code(model, operator) not in {code.CONV_2D, code.DEPTHWISE_CONV_2D}:
            continue
        image = int(operator.inputs[0])
        padding = view.makers.get(image)
        if padding is None or find_code(model, padding) != code.PAD:
            continue
        if len(view.readers[image]) > 1 or image in view.outputs:
            continue
        if operator.builtinOptions.padding == schema.Padding.VALID and _is_same(model, padding, operator):
            operator.inputs = [padding.inputs[0], *operator.inputs[1:]]
            operator.builtinOptions.padding = schema.Padding.SAME
            gone.add(id(padding))
    graph.operators = [operator for operator in graph.operators if id(operator) not in gone]
    return model


def unfold_padding(model: Any, schema: Any) -> None:
    """Pad by numbers, in an operator of its own, before convolutions with a stride that pad by SAME; the model changes.

    XNNPACK puts both together again, and then knows the numbers: what its sparse inference asks for.
    """
    graph, code, operators = model.subgraphs[0], schema.BuiltinOperator, []
    for operator in graph.operators:
        options, convolves = operator.builtinOptions, {code.CONV_2D, code.DEPTHWISE_CONV_2D}
        same = find_code(model, operator) in convolves and options.padding == schema.Padding.SAME
        if same and (options.strideH, options.strideW) != (1, 1):
            operators.append(_make_pad(model, schema, operator))
            operator.inputs = [operators[-1].outputs[0], *operator.inputs[1:]]
            options.padding = schema.Padding.VALID
        operators.append(operator)
    graph.operators = operators


def _make_pad(model: Any, schema: Any, convolution: Any) -> Any:
    """The operator that pads as a convolution does by SAME."""
    graph, operator, place = model.subgraphs[0], schema.OperatorT(), int(convolution.inputs[0])
    pads = np.array((NONE, *_list_same_pads(graph, place, convolution), NONE), np.int32)
    shape = np.array(graph.tensors[place].shape, np.int32) + pads.sum(1, dtype=np.int32)
    operator.opcodeIndex = add_kind(model, schema, schema.BuiltinOperator.PAD)
    operator.inputs = [place, add_integers(model, schema, pads)]
    operator.outputs = [add_tensor(graph, schema, place, "padded", shape)]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.PadOptions, schema.PadOptionsT()
    return operator


def _is_same(model: Any, padding: Any, operator: Any) -> bool:
    """Whether padding and a convolution that pads by nothing are one that pads by SAME."""
    same = _list_same_pads(model.subgraphs[0], int(padding.inputs[0]), operator)
    return read_pads(model, padding) == (NONE, *same, NONE)


def _list_same_pads(graph: Any, place: int, operator: Any) -> Iterator[Pads]:
    """(before, after) of height and width that SAME pads by (TensorFlow's documentation of `tf.nn.convolution`)."""
    image = graph.tensors[place].shape
    kernel = graph.tensors[int(operator.inputs[1])].shape
    options = operator.builtinOptions
    strides, dilations = (options.strideH, options.strideW), (options.dilationHFactor, options.dilationWFactor)
    for size, taps, stride, dilation in zip(image[1:3], kernel[1:3], strides, dilations, strict=True):
        places = -(-int(size) // stride)
        whole = max((places - 1) * stride + (int(taps) - 1) * dilation + 1 - int(size), 0)
        yield whole // 2, whole - whole // 2
