"""Resizes .tflite files: the one that the converter made is written again at other widths, weights repeated."""

from __future__ import annotations

import copy
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from deploy_prune.errors import InputError, MissingDependency
from deploy_prune.formats.templates import TILES, Operator, OperatorKind, Structure, TemplateFormat, appended
from deploy_prune.formats.tflite_file import pack_model
from deploy_prune.values import FP32, Precision

KINDS: Mapping[str, OperatorKind] = {
    "CONV_2D": "convolution",
    "DEPTHWISE_CONV_2D": "depthwise",
    "TRANSPOSE_CONV": "convolution",
    "FULLY_CONNECTED": "dense",
    **dict.fromkeys(("RELU", "RELU6", "HARD_SWISH", "LOGISTIC", "TANH", "PRELU", "GELU", "LEAKY_RELU"), "elementwise"),
    **dict.fromkeys(("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM"), "elementwise"),
}
"""All others move or reduce what they are given."""
WEIGHT = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "TRANSPOSE_CONV": 1, "FULLY_CONNECTED": 1}
"""Which input is the weight."""
INDEX_LISTS = {"GATHER": 1, "GATHER_ND": 1}
"""Which input lists positions, whose number may change."""
WHOLE = {2: "<i4", 4: "<i8"}
"""Number of a type of whole numbers in the schema -> numpy's."""
FLOAT = {FP32: 0}
"""Precision -> number of its weights' type in the schema."""
NO_DATA = 0
"""The buffer that stands for none."""


@dataclass(frozen=True)
class TFLite:
    """Files of one subgraph, as our exporter writes them."""

    suffix: ClassVar[str] = ".tflite"
    exporter: ClassVar[str] = "tflite"
    runtime: ClassVar[str] = "litert"
    tiles: ClassVar[Mapping[str, tuple[int, ...]]] = TILES

    def read(self, content: bytes, precision: Precision = FP32) -> TFLiteTemplate:
        """Take a file apart.

        Raises:
            InputError: damaged, or of another precision.
            MissingDependency: LiteRT, whose schema this is, is not installed.
        """
        if precision not in FLOAT:
            message = f"a .tflite file whose weights are {precision} cannot be taken apart"
            raise InputError(message, hint=f"export it in {' or '.join(FLOAT)}")
        try:
            from ai_edge_litert import schema_py_generated as schema
        except ModuleNotFoundError as error:
            raise MissingDependency("ai-edge-litert", "litert") from error
        try:
            return TFLiteTemplate(schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0)), schema)
        except (AttributeError, LookupError, OverflowError, TypeError, ValueError, struct.error) as error:
            raise InputError(f"no .tflite file, or a damaged one: {error}", hint="export it again") from error


class TFLiteTemplate:
    """A parsed file. Not a value: writing changes the tensors in place."""

    def __init__(self, model: Any, schema: Any) -> None:
        self._model, self._schema = model, schema
        self._graph = model.subgraphs[0]
        self._names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
        self._content = _own_buffers(model, schema)
        self._slots: dict[int, range] = {}
        self._values: dict[int, range] = {}
        self._options: list[tuple[Any, str, range]] = []
        self.structure = self._structure()

    def resized(self, numbers: np.ndarray) -> bytes:
        """The whole file with other numbers; constants whose size changed repeat what they held."""
        self._set(numbers)
        return pack_model(self._model)

    def single(self, numbers: np.ndarray, operator: int) -> bytes:
        """A file of that operator alone, at these numbers."""
        self._set(numbers)
        graph, chosen = self._graph, self._graph.operators[operator]
        kept = (graph.operators, graph.inputs, graph.outputs, self._model.signatureDefs, self._model.metadata)
        made = {int(place) for each in graph.operators for place in each.outputs}
        read = dict.fromkeys(place for place in map(int, chosen.inputs) if place in made or place in set(graph.inputs))
        graph.operators, graph.inputs, graph.outputs = [chosen], list(read), list(chosen.outputs)
        self._model.signatureDefs, self._model.metadata = [], []
        try:
            return pack_model(_without_unused(self._model, self._schema, chosen))
        finally:
            graph.operators, graph.inputs, graph.outputs, self._model.signatureDefs, self._model.metadata = kept

    def _name(self, operator: Any) -> str:
        code = self._model.operatorCodes[operator.opcodeIndex]
        name: str = self._names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        return name

    # --- reading -------------------------------------------------------------------------------------------------

    def _structure(self) -> Structure:
        numbers: list[int] = []
        wiring: list[Any] = []
        order: dict[int, int] = {}
        for operator in self._graph.operators:
            name, places = self._name(operator), [*map(int, operator.inputs), *map(int, operator.outputs)]
            for argument, place in enumerate(places):
                if place >= 0 and place not in self._slots:
                    order[place] = len(order)
                    self._slots[place] = appended(numbers, self._graph.tensors[place].shape)
                    if place in self._content and argument != INDEX_LISTS.get(name):
                        self._values[place] = appended(numbers, self._whole(place))
            for owner, key, values in _options(operator.builtinOptions):
                self._options.append((owner, key, appended(numbers, values)))
            wiring.append((name, tuple(order.get(place, -1) for place in places)))
        operators = tuple(map(self._operator, self._graph.operators))
        return Structure(tuple(wiring), np.array(numbers, dtype=np.int64), operators)

    def _whole(self, place: int) -> Sequence[int]:
        """The values of a constant of whole numbers; none of any other."""
        dtype = WHOLE.get(self._graph.tensors[place].type)
        return np.frombuffer(self._content[place], dtype).tolist() if dtype else ()

    def _operator(self, operator: Any) -> Operator:
        name = self._name(operator)
        kind = KINDS.get(name, "move")
        read = [int(place) for place in operator.inputs if place >= 0 and int(place) not in self._content]
        inputs = tuple(tuple(self._slots[place]) for place in read)
        outputs = tuple(tuple(self._slots[int(place)]) for place in operator.outputs)
        if name not in WEIGHT or int(operator.inputs[WEIGHT[name]]) not in self._content:
            return Operator(name, "move" if name in WEIGHT else kind, inputs, outputs)
        place = int(operator.inputs[WEIGHT[name]])
        weight, shape = tuple(self._slots[place]), [int(size) for size in self._graph.tensors[place].shape]
        kernel = shape[1] * shape[2] if len(shape) == 4 else 1
        image = self._graph.tensors[read[0]].shape
        if kind == "convolution":
            kind = "grouped" if image[-1] != shape[-1] else "pointwise" if kernel == 1 else "convolution"
        stride = int(operator.builtinOptions.strideH) if len(shape) == 4 else 1
        return Operator(name, kind, inputs, outputs, weight, inputs[0][-1], outputs[0][-1], kernel, stride)

    # --- writing -------------------------------------------------------------------------------------------------

    def _set(self, numbers: np.ndarray) -> None:
        for place, slots in self._slots.items():
            tensor = self._graph.tensors[place]
            tensor.shape = numbers[slots.start : slots.stop].astype(np.int32)
            if tensor.shapeSignature is not None:
                tensor.shapeSignature = tensor.shape
            if place in self._content:
                self._model.buffers[tensor.buffer].data = self._filled(place, numbers)
        for owner, key, slots in self._options:
            values = numbers[slots.start : slots.stop].tolist()
            vars(owner)[key] = values if isinstance(vars(owner)[key], (list, np.ndarray)) else values[0]

    def _filled(self, place: int, numbers: np.ndarray) -> np.ndarray:
        """The bytes of a constant at its new size."""
        tensor, content = self._graph.tensors[place], self._content[place]
        if values := self._values.get(place):
            return np.frombuffer(numbers[values.start : values.stop].astype(WHOLE[tensor.type]).tobytes(), np.uint8)
        slots = self._slots[place]
        before = int(np.prod(self.structure.numbers[slots.start : slots.stop]))
        elements = int(np.prod(tensor.shape))
        if elements == before:
            return content
        if tensor.type in WHOLE:  # positions: the first is always there
            return np.zeros(elements * content.size // before, np.uint8)
        return np.resize(content, elements * content.size // before)


def _own_buffers(model: Any, schema: Any) -> dict[int, np.ndarray]:
    """Give every use of a constant a tensor and a buffer of its own (converters share equal ones); tensor -> bytes."""
    graph = model.subgraphs[0]
    contents: dict[int, np.ndarray] = {}
    for operator in graph.operators:
        operator.inputs = [_own(model, schema, int(place), contents) if place >= 0 else -1 for place in operator.inputs]
    used = {tensor.buffer for tensor in graph.tensors}
    described = {entry.buffer for entry in model.metadata or ()}
    for number, buffer in enumerate(model.buffers):
        if number not in used | described:
            buffer.data = None
    return contents


def _own(model: Any, schema: Any, place: int, contents: dict[int, np.ndarray]) -> int:
    tensors = model.subgraphs[0].tensors
    if place in contents:  # used before
        tensors.append(copy.copy(tensors[place]))
        content, place = contents[place], len(tensors) - 1
    else:
        data = model.buffers[tensors[place].buffer].data if tensors[place].buffer != NO_DATA else None
        if data is None or not len(data):
            return place
        content = np.asarray(data, np.uint8)
    contents[place] = content
    tensors[place].buffer = len(model.buffers)
    model.buffers.append(schema.BufferT())
    return place


def _without_unused(model: Any, schema: Any, operator: Any) -> Any:
    """The same model without the bytes of constants that the operator does not read."""
    read = {model.subgraphs[0].tensors[int(place)].buffer for place in operator.inputs if place >= 0}
    slim = schema.ModelT()
    vars(slim).update(vars(model))
    empty = schema.BufferT()
    slim.buffers = [buffer if number in read else empty for number, buffer in enumerate(model.buffers)]
    return slim


def _options(options: Any) -> Iterator[tuple[Any, str, list[int]]]:
    """Every whole number, or list of them, among an operator's options."""
    for key, value in vars(options).items() if options is not None else ():
        if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
            yield options, key, [int(value)]
        elif isinstance(value, (list, np.ndarray)) and all(isinstance(each, (int, np.integer)) for each in value):
            yield options, key, [int(each) for each in value]


plugin: type[TemplateFormat] = TFLite
