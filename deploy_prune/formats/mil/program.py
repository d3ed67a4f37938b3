"""An ML program as values: what a Core ML specification says, decoded and with its weights, not yet judged.

Field numbers are those of coremltools' Model.proto and MIL.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deploy_prune.formats import protobuf
from deploy_prune.formats.mil.weight_blob import read_tensor
from deploy_prune.formats.protobuf import Malformed

ML_PROGRAM, DESCRIPTION, INPUT, OUTPUT = 502, 2, 1, 10
"""Fields of Model, the last two of its description."""

STRING = "str"
DTYPES = {
    1: "?", 2: STRING, 10: "<f2", 11: "<f4", 12: "<f8",
    21: "i1", 22: "<i2", 23: "<i4", 24: "<i8", 31: "u1", 32: "<u2", 33: "<u4", 34: "<u8",
}  # fmt: skip
"""MIL's number of a type -> numpy's."""

Value = Any
"""An array, a string or a tuple of values."""


@dataclass(frozen=True)
class TensorType:
    """Type and shape of a tensor; -1 is a dimension of any size."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ResultName:
    """The name of a result that an argument stands for."""

    name: str


@dataclass(frozen=True, eq=False)
class Operation:
    """One line of the program: arguments are values, references or tuples of these."""

    kind: str
    name: str
    arguments: Mapping[str, Any]
    outputs: Mapping[str, TensorType | None]
    """None: not a tensor (a string, a list)."""


@dataclass(frozen=True, eq=False)
class Program:
    """One function of a package: what goes in, its operations in order, what comes out."""

    inputs: Mapping[str, TensorType]
    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]


def read_program(specification: bytes, weights: bytes) -> Program:
    """The main function of a specification.

    Inputs and outputs are in the order of the description, which is what an app sees.

    Raises:
        Malformed: truncated, foreign, or no ML program (a "neural network" of old, a pipeline).
    """
    model = protobuf.fields(specification)
    if ML_PROGRAM not in model:
        raise Malformed("no ML program in it")
    functions = protobuf.mapping(protobuf.fields(protobuf.message(model, ML_PROGRAM)), 2)
    if "main" not in functions:
        raise Malformed("no function 'main' in it")
    function = protobuf.fields(functions["main"])
    block = protobuf.fields(protobuf.mapping(function, 3).get(protobuf.text(function, 2), b""))
    inputs = dict(map(_named_type, protobuf.messages(function, 1)))
    description = protobuf.fields(protobuf.message(model, DESCRIPTION))
    told = {number: [_name(each) for each in protobuf.messages(description, number)] for number in (INPUT, OUTPUT)}
    outputs = [protobuf.decoded(name) for name in protobuf.messages(block, 2)]
    if sorted(told[INPUT]) != sorted(inputs) or sorted(told[OUTPUT]) != sorted(outputs) or not outputs:
        raise Malformed("the description names other inputs or outputs than the program")
    tensors = {name: kind for name in told[INPUT] if (kind := inputs[name]) is not None}
    operations = tuple(_operation(content, weights) for content in protobuf.messages(block, 3))
    return Program(tensors, operations, tuple(told[OUTPUT]))


def _operation(content: bytes, weights: bytes) -> Operation:
    found = protobuf.fields(content)
    arguments = {name: _argument(part, weights) for name, part in protobuf.mapping(found, 2).items()}
    attributes = {name: _value(part, weights) for name, part in protobuf.mapping(found, 5).items()}
    name = attributes.pop("name", "")
    # a constant's value and a compressed constant's parts are attributes; of any other operation there are none
    outputs = dict(map(_named_type, protobuf.messages(found, 3)))
    return Operation(protobuf.text(found, 1), str(name), {**attributes, **arguments}, outputs)


def _argument(content: bytes, weights: bytes) -> Any:
    """One binding is the argument itself, several are a list of tensors (as concat takes)."""
    parts = [protobuf.fields(part) for part in protobuf.messages(protobuf.fields(content), 1)]
    bound = [
        ResultName(protobuf.text(part, 1)) if 1 in part else _value(protobuf.message(part, 2), weights)
        for part in parts
    ]  # fmt: skip
    return bound[0] if len(bound) == 1 else tuple(bound)


def _named_type(content: bytes) -> tuple[str, TensorType | None]:
    found = protobuf.fields(content)
    return protobuf.text(found, 1), _tensor_type(protobuf.fields(protobuf.message(found, 2)))


def _name(content: bytes) -> str:
    return protobuf.text(protobuf.fields(content), 1)


def _tensor_type(kind: protobuf.Fields) -> TensorType | None:
    if 1 not in kind:
        return None
    tensor = protobuf.fields(protobuf.message(kind, 1))
    number = protobuf.integer(tensor, 1)
    if number not in DTYPES:
        raise Malformed(f"a tensor of type {number}, which is not known here")
    return TensorType(DTYPES[number], tuple(map(_size, protobuf.messages(tensor, 3))))


def _size(dimension: bytes) -> int:
    found = protobuf.fields(dimension)
    return protobuf.integer(protobuf.fields(protobuf.message(found, 1)), 1) if 1 in found else -1


def _value(content: bytes, weights: bytes) -> Value:
    """Field 3: the value itself; 5: where it stands in the weight file."""
    found = protobuf.fields(content)
    kind = _tensor_type(protobuf.fields(protobuf.message(found, 2)))
    if 5 in found:
        if kind is None:
            raise Malformed("a weight that is not a tensor")
        offset = protobuf.integer(protobuf.fields(protobuf.message(found, 5)), 2)
        return read_tensor(weights, offset, dtype=kind.dtype, shape=kind.shape)
    immediate = protobuf.fields(protobuf.message(found, 3))
    for number in (2, 3):  # tuple, list
        if number in immediate:
            parts = protobuf.messages(protobuf.fields(protobuf.message(immediate, number)), 1)
            return tuple(_value(part, weights) for part in parts)
    if kind is None:
        return None  # a dictionary: nothing that changes what is computed
    return _tensor(protobuf.fields(protobuf.message(immediate, 1)), kind)


def _tensor(content: protobuf.Fields, kind: TensorType) -> Value:
    if kind.dtype == STRING:
        texts = [protobuf.decoded(part) for part in protobuf.messages(protobuf.fields(protobuf.message(content, 4)), 1)]
        return texts[0] if kind.shape == () and texts else tuple(texts)
    values = _numbers(content, kind.dtype)
    if values.size != int(np.prod(kind.shape, dtype=np.int64)):
        raise Malformed(f"a value of {values.size} numbers in the shape {kind.shape}")
    return values.reshape(kind.shape)


def _numbers(content: protobuf.Fields, dtype: str) -> np.ndarray:
    """The one field that is there: 1 floats, 2 ints, 3 bools, 5 longs, 6 doubles, 7 bytes; none: an empty tensor."""
    for number in (1, 6):
        if number in content:
            part = protobuf.fields(protobuf.message(content, number))
            return protobuf.floats(part, 1, "<f4" if number == 1 else "<f8").astype(dtype)
    for number in (2, 3, 5):
        if number in content:
            return np.array(protobuf.integers(protobuf.fields(protobuf.message(content, number)), 1), np.int64).astype(
                dtype
            )
    raw = protobuf.message(protobuf.fields(protobuf.message(content, 7)), 1)
    if len(raw) % np.dtype(dtype).itemsize:
        raise Malformed("a value that ends within a number")
    return np.frombuffer(raw, dtype)
