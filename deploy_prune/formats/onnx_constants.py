"""What an .onnx file computes from its constants alone: a file of 132 bytes can ask for gigabytes in that way."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy_prune.formats.protobuf import BYTES, walk

View = int | memoryview
GRAPH, NODE, INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT = 7, 1, 5, 11, 12
"""Fields of ONNX's ModelProto and GraphProto."""
HEADER = {1, 8, 25}
"""What a model says besides its graph that the meaning of its operators hangs on: version, opsets, functions."""
NODE_INPUT, NODE_OUTPUT, OPERATOR, INFO_NAME, TENSOR_NAME = 1, 2, 4, 1, 8


@dataclass(frozen=True)
class ConstantPart:
    """The part of a model that depends on no input."""

    names: tuple[str, ...]
    """The tensors that it computes, in the file's order; empty: all there is has been computed before."""
    model: bytes
    """A model of this part alone, all of whose tensors are outputs, without types or shapes."""


def cut_out_constants(path: Path) -> ConstantPart:
    """The part of a file that depends on no input; subgraphs of loops and branches are not looked into.

    Weights that this part does not read are passed over in a map of the file, and take no memory.

    Raises:
        Malformed: truncated, or not protobuf.
        OSError, ValueError: it cannot be read, or is empty.
    """
    with path.open("rb") as file:
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    model = list(walk(content))
    graph = [field for number, value in model if number == GRAPH for field in walk(_check_view(value))]
    weights = {_read_name(value, TENSOR_NAME): value for number, value in graph if number == INITIALIZER}
    fed = {_read_name(value, INFO_NAME) for number, value in graph if number == GRAPH_INPUT}
    known, names, read = set(weights), [], set[str]()
    kept: list[tuple[int, bytes]] = []
    for number, value in graph:
        if number != NODE:
            continue
        node = _Node.read(_check_view(value))
        if not known.issuperset(node.inputs) or fed.intersection(node.outputs):
            continue
        known.update(node.outputs)
        read.update(node.inputs)
        kept.append((NODE, bytes(_check_view(value))))
        names += node.outputs if node.operator != "Constant" else []
    kept += [(INITIALIZER, bytes(_check_view(value))) for name, value in weights.items() if name in read]
    kept += [(GRAPH_OUTPUT, _encode(INFO_NAME, name.encode())) for name in names]
    shown = b"".join(_encode(number, each) for number, each in kept)
    header = b"".join(_encode(number, value) for number, value in model if number in HEADER)
    return ConstantPart(tuple(names), header + _encode(GRAPH, _encode(2, b"constants") + shown))


@dataclass(frozen=True)
class _Node:
    """What a node reads and writes, by the names of tensors; what is left out has none."""

    inputs: list[str]
    outputs: list[str]
    operator: str

    @classmethod
    def read(cls, content: memoryview) -> _Node:
        texts: dict[int, list[str]] = {NODE_INPUT: [], NODE_OUTPUT: [], OPERATOR: []}
        for number, value in walk(content):
            if number in texts and (text := _decode(value)):
                texts[number].append(text)
        return cls(texts[NODE_INPUT], texts[NODE_OUTPUT], "".join(texts[OPERATOR]))


def _read_name(message: View, field: int) -> str:
    return next((_decode(value) for number, value in walk(_check_view(message)) if number == field), "")


def _check_view(value: View) -> memoryview:
    return memoryview(b"") if isinstance(value, int) else value


def _decode(value: View) -> str:
    return bytes(_check_view(value)).decode(errors="replace")


def _encode(field: int, value: View | bytes) -> bytes:
    """One field on the wire."""
    if isinstance(value, int):
        return bytes([*_spell(field << 3), *_spell(value)])
    return bytes([*_spell(field << 3 | BYTES), *_spell(len(value))]) + bytes(value)


def _spell(number: int) -> Iterator[int]:
    """A whole number, seven bits to a byte, the lowest first."""
    while number > 0x7F:
        yield number & 0x7F | 0x80
        number >>= 7
    yield number
