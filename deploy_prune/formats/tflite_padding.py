"""Folds zero padding of .tflite files into the convolutions behind it, where it is what the format calls SAME.

litert-torch writes the asymmetric padding of networks that TensorFlow trained as an operator of its own; a convolution
with `padding=SAME` does the same within itself. What PyTorch pads evenly before a stride of 2 is not SAME, and stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from deploy_prune.formats.tflite_graph import Pads, find_code, read_pads

NONE: Pads = (0, 0)


def fold_padding(model: Any, schema: Any, *, strided: bool = True) -> Any:
    """Let convolutions of a model of the generated classes pad by themselves; the model is changed and returned.

    Those with a stride only if `strided`: how SAME pads them depends on the size of the image.
    """
    graph, code = model.subgraphs[0], schema.BuiltinOperator
    made = {int(place): operator for operator in graph.operators for place in operator.outputs}
    reads = Counter(int(place) for operator in graph.operators for place in operator.inputs)
    reads.update(map(int, graph.outputs))
    gone = set()
    for operator in graph.operators:
        if find_code(model, operator) not in {code.CONV_2D, code.DEPTHWISE_CONV_2D}:
            continue
        image = int(operator.inputs[0])
        padding = made.get(image)
        if padding is None or find_code(model, padding) != code.PAD or reads[image] != 1:
            continue
        options = operator.builtinOptions
        if not strided and (options.strideH, options.strideW) != (1, 1):
            continue
        if options.padding == schema.Padding.VALID and _is_same(model, padding, operator):
            operator.inputs = [padding.inputs[0], *operator.inputs[1:]]
            operator.builtinOptions.padding = schema.Padding.SAME
            gone.add(id(padding))
    graph.operators = [operator for operator in graph.operators if id(operator) not in gone]
    return model


def _is_same(model: Any, padding: Any, operator: Any) -> bool:
    """Whether padding and a convolution that pads by nothing are one that pads by SAME."""
    return read_pads(model, padding) == (NONE, *_list_same_pads(model.subgraphs[0], padding, operator), NONE)


def _list_same_pads(graph: Any, padding: Any, operator: Any) -> Iterator[Pads]:
    """(before, after) of height and width that SAME pads by (TensorFlow's documentation of `tf.nn.convolution`)."""
    image = graph.tensors[int(padding.inputs[0])].shape
    kernel = graph.tensors[int(operator.inputs[1])].shape
    options = operator.builtinOptions
    strides, dilations = (options.strideH, options.strideW), (options.dilationHFactor, options.dilationWFactor)
    for size, taps, stride, dilation in zip(image[1:3], kernel[1:3], strides, dilations, strict=True):
        places = -(-int(size) // stride)
        whole = max((places - 1) * stride + (int(taps) - 1) * dilation + 1 - int(size), 0)
        yield whole // 2, whole - whole // 2
