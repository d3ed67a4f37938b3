"""The main graph of a .tflite model of the generated classes: kinds, constants, who makes and reads; what is added."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Pads = tuple[int, int]
NO_BUFFER = 0
"""The number of the buffer that stands for none."""


@dataclass(frozen=True, eq=False)
class GraphView:
    """The main graph, looked up by tensor; it does not follow later changes of the model."""

    model: Any
    operators: Sequence[Any]
    makers: Mapping[int, Any]
    """Tensor -> the operator that gives it."""
    readers: Mapping[int, Sequence[Any]]
    """Tensor -> the operators that take it, once for each time."""
    outputs: frozenset[int]
    """The tensors that are outputs of the network."""

    def shape(self, tensor: int) -> tuple[int, ...]:
        """The sizes of a tensor."""
        return tuple(map(int, self.model.subgraphs[0].tensors[tensor].shape))

    def is_constant(self, tensor: int) -> bool:
        """Whether the file has the tensor's numbers."""
        data = self.model.buffers[self.model.subgraphs[0].tensors[tensor].buffer].data
        return data is not None and len(data) > 0

    def list_images(self, operator: Any) -> list[int]:
        """The inputs of an operator that are no constants."""
        return [int(place) for place in operator.inputs if place >= 0 and not self.is_constant(int(place))]


def view_graph(model: Any) -> GraphView:
    """Look at the main graph of a model."""
    graph = model.subgraphs[0]
    makers = {int(place): operator for operator in graph.operators for place in operator.outputs}
    readers = defaultdict(list)
    for operator in graph.operators:
        for place in operator.inputs:
            readers[int(place)].append(operator)
    return GraphView(model, graph.operators, makers, readers, frozenset(map(int, graph.outputs)))


def find_code(model: Any, operator: Any) -> int:
    """The number of an operator's kind; the first files had it in a smaller field."""
    code = model.operatorCodes[operator.opcodeIndex]
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def read_bytes(model: Any, tensor: int) -> bytes | None:
    """The content of a constant; None: the tensor is none."""
    data = model.buffers[model.subgraphs[0].tensors[tensor].buffer].data
    return None if data is None or not len(data) else bytes(data)


def read_integers(model: Any, tensor: int) -> np.ndarray | None:
    """The whole numbers of a constant, of 4 or 8 bytes each; None: the tensor is none."""
    data, shape = read_bytes(model, tensor), model.subgraphs[0].tensors[tensor].shape
    return None if data is None else np.frombuffer(data, f"<i{len(data) // int(np.prod(shape))}").reshape(shape)


def read_pads(model: Any, padding: Any) -> tuple[Pads, ...] | None:
    """(before, after) of each axis that an operator PAD pads; None: they are not constant."""
    listed = read_integers(model, int(padding.inputs[1]))
    return None if listed is None else tuple((int(before), int(after)) for before, after in listed)


def add_kind(model: Any, schema: Any, kind: int) -> int:
    """The number of a kind among the model's kinds of operators, which is added if there is none."""
    for index, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == kind:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = kind
    code.version = 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def add_buffer(model: Any, schema: Any, values: np.ndarray) -> int:
    """The number of a new buffer."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def add_integers(model: Any, schema: Any, numbers: np.ndarray) -> int:
    """The number of a new constant of 32-bit whole numbers."""
    graph, tensor = model.subgraphs[0], schema.TensorT()
    tensor.shape, tensor.type = np.array(numbers.shape, np.int32), schema.TensorType.INT32
    tensor.name, tensor.buffer = f"integers/{len(graph.tensors)}", add_buffer(model, schema, numbers)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def add_tensor(graph: Any, schema: Any, place: int, suffix: str, shape: np.ndarray | None = None) -> int:
    """The number of a new tensor like another, if need be of a shape of its own, which the file has no numbers for."""
    like, tensor = graph.tensors[place], schema.TensorT()
    tensor.shape, tensor.type, tensor.buffer = like.shape if shape is None else shape, like.type, NO_BUFFER
    tensor.name = f"{like.name.decode() if isinstance(like.name, bytes) else like.name}/{suffix}"
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1
