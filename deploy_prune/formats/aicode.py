"""Reads the program of a Core AI file: AICode, the dialect in which Apple keeps what newer systems shall still read.

Apple documents none of it. The numbers here are those of files that coreai-core 1.0.0b3 writes, and its own summary of
such files says what is read here (`tests/formats/test_aicode.py`). A type that is not known is told as unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

from deploy_prune.formats.flatbuffer import pick_entry
from deploy_prune.formats.mlir_bytecode import Bytecode, Cursor, Operation, read_bytecode
from deploy_prune.formats.protobuf import MOST_SIZES, Malformed
from deploy_prune.values import TensorSpec

DIALECT = "aicode"
GRAPH, CONSTANT, OUTPUT = "dataflow.graph", "constant", "dataflow.output"
MAIN = "main"
ARGUMENTS, SIGNATURE, NAME, RESULTS = 0, 3, 5, 8
"""Places of a graph's properties: what is said of its arguments, its type, its name, what is said of its results."""
TEXT, TYPE, LIST, ENTRY = 1, 4, 5, 9
"""Kinds of attributes."""
TENSOR, FUNCTION = 2, 30
"""Kinds of types that have parts."""
ELEMENTS: Mapping[int, tuple[str, int]] = {
    4: ("bool", 8), 5: ("float64", 64), 6: ("float32", 32), 7: ("float16", 16), 8: ("bfloat16", 16),
    9: ("float8_e5m2", 8), 10: ("float8_e4m3fn", 8), 11: ("complex128", 128), 12: ("complex64", 64),
    17: ("int64", 64), 18: ("int32", 32), 19: ("int16", 16), 20: ("int8", 8), 21: ("int4", 4), 22: ("int2", 2),
    23: ("uint64", 64), 24: ("uint32", 32), 25: ("uint16", 16), 26: ("uint8", 8), 27: ("uint4", 4), 28: ("uint2", 2),
    46: ("float4_e2m1fn", 4), 47: ("float8_e8m0fnu", 8),
}  # fmt: skip
"""Kind of a type of numbers -> its name, and the bits of one."""
NAMED = "aicode.name"
"""The entry that holds what an argument or a result is called."""
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Program:
    """What a program says of itself."""

    version: int
    """The dialect's."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operators: tuple[str, ...]
    """What its graphs compute; not what such an operator itself is made of, nor constants."""
    weights: tuple[tuple[str, int], ...]
    """Type and bytes of every constant of its graphs."""


def read_program(content: bytes) -> Program:
    """Read what a program takes, computes and gives.

    Raises:
        Malformed: truncated, foreign, or of a version that is not known here.
    """
    file = read_bytecode(content)
    graphs = {_read_text(file, _list_properties(each)[NAME]): each for each in file.operations if _name(each) == GRAPH}
    if not graphs:
        raise Malformed("it holds no graph of Core AI")
    inputs, outputs = _read_signature(file, graphs.get(MAIN) or next(iter(graphs.values())))
    direct = [each for each in file.operations if _shorten(each.parent) == GRAPH]
    return Program(
        version=Cursor(file.dialects[DIALECT]).number(),
        inputs=inputs,
        outputs=outputs,
        operators=tuple(name for name in map(_name, direct) if name not in {CONSTANT, OUTPUT}),
        weights=tuple(_measure(file, each.results) for each in direct if _name(each) == CONSTANT),
    )


def _name(operation: Operation) -> str:
    return _shorten(operation.name)


def _shorten(name: str) -> str:
    """An operation's name without its dialect and version: `aicode.primitive.conv2d_v1` is a `conv2d`."""
    return re.sub(r"_v\d+$", "", name.removeprefix(f"{DIALECT}.").removeprefix("primitive."))


def _list_properties(graph: Operation) -> tuple[int, ...]:
    """The numbers of a graph's attributes; 0 where one that may be left out is."""
    numbers = tuple(_list_numbers(graph.properties))
    if len(numbers) <= RESULTS:
        raise Malformed(f"a graph has {len(numbers)} properties, which are too few")
    return numbers


def _list_numbers(content: bytes) -> Iterator[int]:
    cursor = Cursor(content)
    while cursor.more:
        yield cursor.number()


def _read_attribute(file: Bytecode, place: int, kind: int) -> Cursor:
    """What follows the kind of an attribute, which has to be that one."""
    cursor = Cursor(pick_entry(file.attributes, place))
    if (its := cursor.number()) != kind:
        raise Malformed(f"attribute {place} is of kind {its}, not {kind}")
    return cursor


def _read_text(file: Bytecode, place: int) -> str:
    text: str = pick_entry(file.strings, _read_attribute(file, place, TEXT).number())
    return text


def _read_signature(file: Bytecode, graph: Operation) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """What a graph takes and gives; a function's type begins with what it gives."""
    properties = _list_properties(graph)
    place = _read_attribute(file, properties[SIGNATURE], TYPE).number()
    function = Cursor(pick_entry(file.types, place))
    if function.number() != FUNCTION:
        raise Malformed(f"type {place} is no function's")
    types = {RESULTS: function.numbers(), ARGUMENTS: function.numbers()}
    inputs, outputs = (
        tuple(
            TensorSpec(name, *_read_tensor(file, each))
            for name, each in zip(_read_names(file, properties[said]), types[said], strict=True)
        )
        for said in (ARGUMENTS, RESULTS)
    )
    return inputs, outputs


def _read_names(file: Bytecode, place: int) -> Iterator[str]:
    """The names of arguments or results, for each of which there is a list of entries."""
    for entries in _read_attribute(file, place, LIST).numbers():
        name = ""
        for entry in _read_attribute(file, entries, LIST).numbers():
            key, *_, value = _list_numbers(_read_rest(_read_attribute(file, entry, ENTRY)))
            if pick_entry(file.strings, key) == NAMED:
                name = _read_text(file, value)
        yield name


def _read_rest(cursor: Cursor) -> bytes:
    return cursor.take(cursor.end - cursor.at)


def _read_tensor(file: Bytecode, place: int) -> tuple[tuple[int, ...], str]:
    """Shape and type of numbers; a size that is free is -1."""
    cursor = Cursor(pick_entry(file.types, place))
    if cursor.number() != TENSOR:
        return (), UNKNOWN
    rank = cursor.number()
    if rank > MOST_SIZES:
        raise Malformed(f"a tensor of {rank} dimensions")
    shape = tuple(max(-1, cursor.signed()) for _ in range(rank))
    kind = Cursor(pick_entry(file.types, cursor.number())).number()
    return shape, ELEMENTS[kind][0] if kind in ELEMENTS else UNKNOWN


BITS = dict(ELEMENTS.values())


def _measure(file: Bytecode, results: tuple[int, ...]) -> tuple[str, int]:
    """Type and bytes of a constant."""
    shape, dtype = _read_tensor(file, pick_entry(results, 0))
    return dtype, -(-prod(shape) * BITS.get(dtype, 0) // 8)
