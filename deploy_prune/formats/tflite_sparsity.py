"""Stores weights of .tflite files without their zeros, as compressed sparse rows that an operator DENSIFY fills up.

A convolution takes dense weights alone. XNNPACK does the work of DENSIFY while it prepares a file, and takes it for the
hint that sparse kernels may be worth while; elsewhere LiteRT does it once, at the first inference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deploy_prune.formats.csr import SparseRows, compress
from deploy_prune.formats.tflite_graph import (
    add_buffer,
    add_integers,
    add_kind,
    add_tensor,
    find_code,
    read_bytes,
    view_graph,
)


def part_classifiers(model: Any, schema: Any) -> None:
    """Put an operator RESHAPE, which changes nothing, between a mean and a classifier behind it; changes the model.

    Newer versions of XNNPACK count the weights of such a classifier among those of which two thirds have to be 0.
    """
    graph, kinds, view = model.subgraphs[0], schema.BuiltinOperator, view_graph(model)
    operators: list[Any] = []
    for operator in graph.operators:
        maker = view.makers.get(int(operator.inputs[0])) if len(operator.inputs) else None
        if find_code(model, operator) == kinds.FULLY_CONNECTED and maker and find_code(model, maker) == kinds.MEAN:
            operators.append(_make_reshape(model, schema, int(operator.inputs[0])))
            operator.inputs = [operators[-1].outputs[0], *operator.inputs[1:]]
        operators.append(operator)
    graph.operators = operators


def _make_reshape(model: Any, schema: Any, place: int) -> Any:
    """An operator that gives a tensor again in its own shape."""
    graph, operator = model.subgraphs[0], schema.OperatorT()
    shape = np.array(graph.tensors[place].shape, np.int32)
    operator.opcodeIndex = add_kind(model, schema, schema.BuiltinOperator.RESHAPE)
    operator.inputs = [place, add_integers(model, schema, shape)]
    operator.outputs = [add_tensor(graph, schema, place, "again")]
    operator.builtinOptionsType, operator.builtinOptions = (
        schema.BuiltinOptions.ReshapeOptions,
        schema.ReshapeOptionsT(),
    )
    operator.builtinOptions.newShape = shape
    return operator


def store_sparse(model: Any, schema: Any, convolutions: Sequence[Any]) -> int:
    """Store the weights of 1x1 convolutions without their zeros, wherever that is smaller; the model is changed.

    Returns:
        How many tensors are stored so.
    """
    graph, dense, first = model.subgraphs[0], {}, []
    for convolution in convolutions:
        place = int(convolution.inputs[1])
        if place not in dense:
            dense[place] = place
            if _compress_tensor(model, schema, place):
                dense[place] = add_tensor(graph, schema, place, "dense")
                first.append(_make_densify(model, schema, place, dense[place]))
        convolution.inputs = [convolution.inputs[0], dense[place], *convolution.inputs[2:]]
    graph.operators = [*first, *graph.operators]
    return len(first)


def _compress_tensor(model: Any, schema: Any, place: int) -> bool:
    """Store one tensor (outputs, 1, 1, inputs) so, if that is smaller; whether it is."""
    tensor, data = model.subgraphs[0].tensors[place], read_bytes(model, place)
    assert data is not None
    matrix = np.frombuffer(data, np.float32).reshape(tensor.shape[0], -1)
    sparse = compress(matrix)
    numbers = [_shorten(sparse.starts), _shorten(sparse.columns)]
    smaller = sum(each.nbytes for each in numbers) + sparse.values.nbytes < len(data)
    if not smaller or not sparse.values.size:  # a tensor without any number would be no constant
        return False
    tensor.sparsity = _describe(schema, tensor.shape, sparse)
    tensor.buffer = _store(model, schema, tensor.buffer, sparse.values)
    return True


def _describe(schema: Any, shape: Sequence[int], sparse: SparseRows) -> Any:
    """The layout: every dimension as it is, but the last one, that of the inputs, by rows."""
    described = schema.SparsityParametersT()
    described.traversalOrder = np.arange(len(shape), dtype=np.int32)
    described.dimMetadata = []
    for size in shape[:-1]:
        dimension = schema.DimensionMetadataT()
        dimension.format, dimension.denseSize = schema.DimensionType.DENSE, int(size)
        described.dimMetadata.append(dimension)
    rows = schema.DimensionMetadataT()
    rows.format = schema.DimensionType.SPARSE_CSR
    rows.arraySegmentsType, rows.arraySegments = _list_numbers(schema, sparse.starts)
    rows.arrayIndicesType, rows.arrayIndices = _list_numbers(schema, sparse.columns)
    described.dimMetadata.append(rows)
    return described


def _shorten(numbers: np.ndarray) -> np.ndarray:
    """The same numbers in as few bytes as they fit into."""
    largest = int(numbers.max(initial=0))
    return numbers.astype(np.uint8 if largest < 1 << 8 else np.uint16 if largest < 1 << 16 else np.int32)


def _list_numbers(schema: Any, numbers: np.ndarray) -> tuple[int, Any]:
    """Kind and content of a list of whole numbers, as the schema has it."""
    short, kinds = _shorten(numbers), schema.SparseIndexVector
    kind, content = {
        "uint8": (kinds.Uint8Vector, schema.Uint8VectorT()),
        "uint16": (kinds.Uint16Vector, schema.Uint16VectorT()),
        "int32": (kinds.Int32Vector, schema.Int32VectorT()),
    }[short.dtype.name]
    content.values = short
    return kind, content


def _store(model: Any, schema: Any, number: int, values: np.ndarray) -> int:
    """The number of a buffer with these values: the one that they were in, unless other tensors share it."""
    if sum(tensor.buffer == number for graph in model.subgraphs for tensor in graph.tensors) > 1:
        return add_buffer(model, schema, values)
    model.buffers[number].data = np.frombuffer(values.tobytes(), np.uint8)
    return number


def _make_densify(model: Any, schema: Any, sparse: int, dense: int) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex = add_kind(model, schema, schema.BuiltinOperator.DENSIFY)
    operator.inputs, operator.outputs = [sparse], [dense]
    operator.builtinOptionsType = schema.BuiltinOptions.DensifyOptions
    operator.builtinOptions = schema.DensifyOptionsT()
    return operator
