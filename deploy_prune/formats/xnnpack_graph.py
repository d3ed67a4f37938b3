"""The graphs that ExecuTorch's exporter lowers to XNNPACK: operators and constants.

Numbers are those of the XNNPACK backend's schema.fbs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deploy_prune.formats import flatbuffer
from deploy_prune.formats.flatbuffer import Table, pick_entry
from deploy_prune.formats.protobuf import Malformed, unpack

IDENTIFIERS = (b"XN01", b"XN00")
MAGIC = b"XH00"
OPERATORS = (
    "Add", "FullyConnected", "Softmax", "Sigmoid", "StaticTranspose", "Clamp", "Conv2d", "Div",
    "StaticResizeBilinear2D", "StaticConstantPad", "AvgPooling2d", "Minimum", "DepthwiseConv2d", "MaxPooling2d",
    "Multiply", "Subtract", "Floor", "Convert", "GlobalAvgPooling2d", "StaticReshape", "ArgMaxPooling2d", "SquareRoot",
    "Ceiling", "Hardswish", "LeakyReLU", "Maximum", "Negate", "Square", "ELU", "Abs", "PReLU", "Concatenate2",
    "Concatenate3", "Concatenate4", "StaticSlice", "ScaledDotProductAttention", "BatchMatrixMultiply", "Concatenate5",
    "ConvTranspose2d", "ReciprocalSquareRoot", "Log", "Gelu", "Tanh", "Exp", "Sin", "Copy", "Cos",
)  # fmt: skip
"""The operators in the order of the schema's union, whose numbers begin with 1."""
DTYPES = {
    1: "float32", 2: "float16", 3: "int8", 4: "uint8", 5: "int32", 6: "int8 per channel", 7: "int32 per channel",
    8: "int4 per channel", 10: "int4 per block", 12: "int32", 13: "float32", 14: "bfloat16",
}  # fmt: skip
PLAIN, QUANTIZED = 1, 2
"""Types of values."""


@dataclass(frozen=True)
class Weight:
    """A constant; one with a name may be shared by several graphs of a file."""

    name: str
    dtype: str
    size_bytes: int


@dataclass(frozen=True)
class Graph:
    """One graph that XNNPACK runs as a whole."""

    operators: tuple[str, ...]
    weights: tuple[Weight, ...]


def read_graph(content: bytes, budget: flatbuffer.Budget | None = None) -> Graph:
    """The graph in a delegate's data; `budget` is what may still be read of the file that this is in.

    Raises:
        Malformed: truncated or foreign.
    """
    if content[4:8] == MAGIC:
        content = flatbuffer.Buffer(content, budget).slice(*unpack("<II", content, 10))
    graph = flatbuffer.read_root(content, IDENTIFIERS, budget)
    numbers = [node.number(0, "<B") for node in graph.tables(1)]
    names = [OPERATORS[number - 1] if 0 < number <= len(OPERATORS) else f"node {number}" for number in numbers]
    return Graph(tuple(names), tuple(_read_weights(graph)))


def _read_weights(graph: Table) -> Iterator[Weight]:
    places, seen = graph.tables(8), {0}
    for value in graph.tables(2):
        kind, tensor = value.union(1)
        if kind == QUANTIZED and tensor is not None:
            tensor = tensor.table(0)
        if tensor is None or kind not in {PLAIN, QUANTIZED}:
            raise Malformed(f"a value of type {kind}")
        index, number = tensor.number(3, "<I"), tensor.number(0, "<h")
        if index not in seen:
            seen.add(index)
            place: Table = pick_entry(places, index)
            yield Weight(place.text(2), DTYPES.get(number, f"type {number}"), place.number(1, "<Q"))
