"""Resizes .onnx files: the one that the exporter made is written again at other widths, weights repeated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from deploy_prune.errors import InputError, MissingDependency
from deploy_prune.formats.templates import TILES, Operator, OperatorKind, Structure, TemplateFormat, appended
from deploy_prune.values import FP32, Precision

KINDS: Mapping[str, OperatorKind] = {
    "Conv": "convolution",
    "ConvTranspose": "convolution",
    "Gemm": "dense",
    "MatMul": "dense",
    **dict.fromkeys(("Clip", "Relu"), "activation"),
    **dict.fromkeys(
        ("HardSwish", "HardSigmoid", "Sigmoid", "Tanh", "PRelu", "Gelu", "LeakyRelu", "Erf"), "elementwise"
    ),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Max", "Min"), "elementwise"),
}
"""All others move or reduce what they are given."""
INDEX_LISTS = {"Gather": 1, "GatherND": 1}
"""Which input lists positions, whose number may change."""
FLOAT = {FP32: 1}
"""Precision -> ONNX's number of its weights' type."""
WHOLE = {6: np.dtype("<i4"), 7: np.dtype("<i8")}
INTS, INT = 7, 2
"""ONNX's numbers of kinds of attributes."""


@dataclass(frozen=True)
class Onnx:
    """Files whose tensors all have known shapes, as our exporter writes them."""

    suffix: ClassVar[str] = ".onnx"
    exporter: ClassVar[str] = "onnx"
    runtime: ClassVar[str] = "onnxruntime"
    tiles: ClassVar[Mapping[str, tuple[int, ...]]] = TILES

    def read(self, content: bytes, precision: Precision = FP32) -> OnnxTemplate:
        """Take a file apart.

        Raises:
            InputError: damaged, or of another precision, or a tensor has no shape.
            MissingDependency: onnx is not installed.
        """
        if precision not in FLOAT:
            message = f"a .onnx file whose weights are {precision} cannot be taken apart"
            raise InputError(message, hint=f"export it in {' or '.join(FLOAT)}")
        try:
            import onnx
            from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
        except ModuleNotFoundError as error:
            raise MissingDependency("onnx", "onnx") from error
        try:
            model = onnx.load_model_from_string(content)
            if not model.graph.node:
                raise ValueError("it has no operators")
            return OnnxTemplate(model, onnx)
        except (DecodeError, LookupError, TypeError, ValueError) as error:
            raise InputError(f"no .onnx file, or a damaged one: {error}", hint="export it again") from error


class OnnxTemplate:
    """A parsed file. Not a value: writing changes the tensors in place."""

    def __init__(self, model: Any, onnx: Any) -> None:
        self._model, self._onnx = model, onnx
        graph = model.graph
        _unshare(graph)
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._content = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._shapes = {
            each.name: each.type.tensor_type.shape for each in (*graph.input, *graph.output, *graph.value_info)
        }
        self._slots: dict[str, range] = {}
        self._values: dict[str, range] = {}
        self._attributes: list[tuple[Any, range]] = []
        self.structure = self._structure()

    def resized(self, numbers: np.ndarray) -> bytes:
        """The whole file with other numbers; constants whose size changed repeat what they held."""
        self._set(numbers)
        return bytes(self._model.SerializeToString())

    def single(self, numbers: np.ndarray, operator: int) -> bytes:
        """A file of that operator alone, at these numbers."""
        self._set(numbers)
        node = self._model.graph.node[operator]
        helper, dtype = self._onnx.helper, self._onnx.TensorProto.FLOAT
        sizes = {name: numbers[slots.start : slots.stop].tolist() for name, slots in self._slots.items()}
        read = dict.fromkeys(name for name in node.input if name and name not in self._constants)
        inputs = [helper.make_tensor_value_info(name, dtype, sizes[name]) for name in read]
        outputs = [helper.make_tensor_value_info(name, dtype, sizes[name]) for name in node.output if name]
        constants = [self._constants[name] for name in dict.fromkeys(node.input) if name in self._constants]
        graph = helper.make_graph([node], "probe", inputs, outputs, constants)
        model = helper.make_model(graph, opset_imports=self._model.opset_import, ir_version=self._model.ir_version)
        return bytes(model.SerializeToString())

    # --- reading -------------------------------------------------------------------------------------------------

    def _structure(self) -> Structure:
        numbers: list[int] = []
        wiring: list[Any] = []
        order: dict[str, int] = {}
        for node in self._model.graph.node:
            for argument, name in enumerate((*node.input, *node.output)):
                if name and name not in self._slots:
                    order[name] = len(order)
                    self._slots[name] = appended(numbers, self._dimensions(name))
                    if name in self._content and argument != INDEX_LISTS.get(node.op_type):
                        self._values[name] = appended(numbers, self._whole(name))
            for attribute, values in _attributes(node):
                self._attributes.append((attribute, appended(numbers, values)))
            wiring.append((node.op_type, tuple(order.get(name, -1) for name in (*node.input, *node.output))))
        operators = tuple(map(self._operator, self._model.graph.node))
        return Structure(tuple(wiring), np.array(numbers, dtype=np.int64), operators)

    def _dimensions(self, name: str) -> Sequence[int]:
        if name in self._content:
            return tuple(self._content[name].shape)
        shape = self._shapes.get(name)
        if shape is None or any(not each.HasField("dim_value") for each in shape.dim):
            raise InputError(f"the tensor '{name}' has no fixed shape", hint="export it again, without a dynamic batch")
        return [each.dim_value for each in shape.dim]

    def _whole(self, name: str) -> Sequence[int]:
        """The values of a constant of whole numbers; none of any other."""
        array = self._content[name]
        return array.ravel().tolist() if self._constants[name].data_type in WHOLE else ()

    def _operator(self, node: Any) -> Operator:
        read = [name for name in node.input if name and name not in self._content]
        inputs = tuple(tuple(self._slots[name]) for name in read)
        outputs = tuple(tuple(self._slots[name]) for name in node.output if name)
        kind = KINDS.get(node.op_type, "move")
        weights = [name for name in node.input[1:2] if kind in {"convolution", "dense"} and name in self._content]
        if not weights:
            return Operator(node.op_type, "move" if kind == "dense" else kind, inputs, outputs)
        shape, slots = self._content[weights[0]].shape, self._slots[weights[0]]
        kernel = int(np.prod(shape[2:]))
        groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        if kind == "convolution" and groups > 1:
            kind = "depthwise" if shape[1] == 1 else "grouped"
        elif kind == "convolution" and kernel == 1:
            kind = "pointwise"
        strides = next((attribute.ints for attribute in node.attribute if attribute.name == "strides"), (1,))
        axis = 1 if len(inputs[0]) == 4 else -1
        ins, outs = inputs[0][axis], outputs[0][axis]
        label = weights[0].rpartition(".")[0]
        return Operator(node.op_type, kind, inputs, outputs, tuple(slots), ins, outs, kernel, int(strides[0]), label)

    # --- writing -------------------------------------------------------------------------------------------------

    def _set(self, numbers: np.ndarray) -> None:
        for name, slots in self._slots.items():
            sizes = numbers[slots.start : slots.stop].tolist()
            if shape := self._shapes.get(name):
                for dimension, size in zip(shape.dim, sizes, strict=True):
                    dimension.dim_value = size
            if name in self._content:
                tensor = self._constants[name]
                tensor.CopyFrom(self._onnx.numpy_helper.from_array(self._filled(name, sizes, numbers), name))
        for attribute, slots in self._attributes:
            values = numbers[slots.start : slots.stop].tolist()
            if attribute.type == INT:
                attribute.i = values[0]
            else:
                attribute.ints[:] = values

    def _filled(self, name: str, sizes: Sequence[int], numbers: np.ndarray) -> np.ndarray:
        """A constant at its new size."""
        content = self._content[name]
        if values := self._values.get(name):
            return numbers[values.start : values.stop].astype(content.dtype).reshape(sizes)
        if list(content.shape) == list(sizes):
            return content  # type: ignore[no-any-return]
        if content.dtype.kind == "i":  # positions: the first is always there
            return np.zeros(sizes, content.dtype)
        return np.resize(content, sizes)


def _unshare(graph: Any) -> None:
    """Give every use of a constant an initializer of its own (exporters share equal ones)."""
    constants, used = {tensor.name: tensor for tensor in graph.initializer}, set()
    for node in graph.node:
        for argument, name in enumerate(node.input):
            if name in constants and name in used:
                node.input[argument] = f"{name}#{len(graph.initializer)}"
                graph.initializer.add().CopyFrom(constants[name])
                graph.initializer[-1].name = node.input[argument]
            used.add(name)


def _attributes(node: Any) -> Iterator[tuple[Any, list[int]]]:
    """Every whole number, or list of them, among a node's attributes."""
    for attribute in node.attribute:
        if attribute.type == INT:
            yield attribute, [attribute.i]
        elif attribute.type == INTS:
            yield attribute, list(attribute.ints)


plugin: type[TemplateFormat] = Onnx
