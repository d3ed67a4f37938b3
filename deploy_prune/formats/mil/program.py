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

DEEPEST = 16
"""Tuples and lists within one another."""
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
    model = protobuf.read_fields(specification)
    if ML_PROGRAM not in model:
        raise Malformed("no ML program in it")
    functions = protobuf.read_mapping(protobuf.read_fields(protobuf.read_message(model, ML_PROGRAM)), 2)
    if "main" not in functions:
        raise Malformed("no function 'main' in it")
    function = protobuf.read_fields(functions["main"])
    block = protobuf.read_fields(protobuf.read_mapping(function, 3).get(protobuf.read_text(function, 2), b""))
    inputs = dict(map(_read_named_type, protobuf.read_messages(function, 1)))
    description = protobuf.read_fields(protobuf.read_message(model, DESCRIPTION))
    described = {
        number: [_read_name(each) for each in protobuf.read_messages(description, number)] for number in (INPUT, OUTPUT)
    }
    outputs = [protobuf.decode_text(name) for name in protobuf.read_messages(block, 2)]
    if sorted(described[INPUT]) != sorted(inputs) or sorted(described[OUTPUT]) != sorted(outputs) or not outputs:
        raise Malformed("the description names other inputs or outputs than the program")
    tensors = {name: kind for name in described[INPUT] if (kind := inputs[name]) is not None}
    operations = tuple(_read_operation(content, weights) for content in protobuf.read_messages(block, 3))
    return Program(tensors, operations, tuple(described[OUTPUT]))


def _read_operation(content: bytes, weights: bytes) -> Operation:
    fields = protobuf.read_fields(content)
    arguments = {name: _read_argument(part, weights) for name, part in protobuf.read_mapping(fields, 2).items()}
    attributes = {name: _read_value(part, weights) for name, part in protobuf.read_mapping(fields, 5).items()}
    name = attributes.pop("name", "")
    # a constant's value and a compressed constant's parts are attributes; of any other operation there are none
    outputs = dict(map(_read_named_type, protobuf.read_messages(fields, 3)))
    return Operation(protobuf.read_text(fields, 1), str(name), {**attributes, **arguments}, outputs)


def _read_argument(content: bytes, weights: bytes) -> Any:
    """One binding is the argument itself, several are a list of tensors (as concat takes)."""
    parts = [protobuf.read_fields(part) for part in protobuf.read_messages(protobuf.read_fields(content), 1)]
    bound = [
        ResultName(protobuf.read_text(part, 1)) if 1 in part else _read_value(protobuf.read_message(part, 2), weights)
        for part in parts
    ]  # fmt: skip
    return bound[0] if len(bound) == 1 else tuple(bound)


def _read_named_type(content: bytes) -> tuple[str, TensorType | None]:
    fields = protobuf.read_fields(content)
    return protobuf.read_text(fields, 1), _read_tensor_type(protobuf.read_fields(protobuf.read_message(fields, 2)))


def _read_name(content: bytes) -> str:
    return protobuf.read_text(protobuf.read_fields(content), 1)


def _read_tensor_type(kind: protobuf.Fields) -> TensorType | None:
    if 1 not in kind:
        return None
    tensor = protobuf.read_fields(protobuf.read_message(kind, 1))
    number = protobuf.read_integer(tensor, 1)
    if number not in DTYPES:
        raise Malformed(f"a tensor of type {number}, which is not known here")
    sizes = protobuf.read_messages(tensor, 3)
    if len(sizes) > protobuf.MOST_SIZES:
        raise Malformed(f"a tensor of {len(sizes)} dimensions")
    return TensorType(DTYPES[number], tuple(map(_read_size, sizes)))


def _read_size(dimension: bytes) -> int:
    fields = protobuf.read_fields(dimension)
    return protobuf.read_integer(protobuf.read_fields(protobuf.read_message(fields, 1)), 1) if 1 in fields else -1


def _read_value(content: bytes, weights: bytes, depth: int = 0) -> Value:
    """Field 3: the value itself; 5: where it stands in the weight file."""
    if depth > DEEPEST:
        raise Malformed(f"values within values, more than {DEEPEST} deep")
    fields = protobuf.read_fields(content)
    kind = _read_tensor_type(protobuf.read_fields(protobuf.read_message(fields, 2)))
    if 5 in fields:
        if kind is None:
            raise Malformed("a weight that is not a tensor")
        offset = protobuf.read_integer(protobuf.read_fields(protobuf.read_message(fields, 5)), 2)
        return read_tensor(weights, offset, dtype=kind.dtype, shape=kind.shape)
    immediate = protobuf.read_fields(protobuf.read_message(fields, 3))
    for number in (2, 3):  # tuple, list
        if number in immediate:
            parts = protobuf.read_messages(protobuf.read_fields(protobuf.read_message(immediate, number)), 1)
            return tuple(_read_value(part, weights, depth + 1) for part in parts)
    if kind is None:
        return None  # a dictionary: nothing that changes what is computed
    return _read_tensor_value(protobuf.read_fields(protobuf.read_message(immediate, 1)), kind)


def _read_tensor_value(content: protobuf.Fields, kind: TensorType) -> Value:
    if kind.dtype == STRING:
        texts = [
            protobuf.decode_text(part)
            for part in protobuf.read_messages(protobuf.read_fields(protobuf.read_message(content, 4)), 1)
        ]
        return texts[0] if kind.shape == () and texts else tuple(texts)
    values = _read_numbers(content, kind.dtype)
    if values.size != int(np.prod(kind.shape, dtype=np.int64)):
        raise Malformed(f"a value of {values.size} numbers in the shape {kind.shape}")
    return values.reshape(kind.shape)


def _read_numbers(content: protobuf.Fields, dtype: str) -> np.ndarray:
    """The one field that is there: 1 floats, 2 ints, 3 bools, 5 longs, 6 doubles, 7 bytes; none: an empty tensor."""
    for number in (1, 6):
        if number in content:
            part = protobuf.read_fields(protobuf.read_message(content, number))
            return protobuf.read_floats(part, 1, "<f4" if number == 1 else "<f8").astype(dtype)
    for number in (2, 3, 5):
        if number in content:
            return np.array(
                protobuf.read_integers(protobuf.read_fields(protobuf.read_message(content, number)), 1), np.int64
            ).astype(dtype)
    raw = protobuf.read_message(protobuf.read_fields(protobuf.read_message(content, 7)), 1)
    if len(raw) % np.dtype(dtype).itemsize:
        raise Malformed("a value that ends within a number")
    return np.frombuffer(raw, dtype)
