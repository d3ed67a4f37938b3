"""Reads .onnx files from protobuf's wire format; needs neither onnx nor ONNX Runtime.

Field numbers are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import ClassVar

from deploy_prune.analysis.readers import (
    FileOrigin,
    FileReport,
    Reader,
    count_operators,
    find_origin,
    shorten,
    sum_bytes,
)
from deploy_prune.formats import protobuf
from deploy_prune.formats.protobuf import Fields, Malformed
from deploy_prune.values import NETWORK_DIGEST, TensorSpec

DOMAIN = "ai.onnx"
RELEASES = (
    ("0.3", 9, 3), ("0.4", 10, 5), ("1.0", 11, 6), ("1.3", 12, 7), ("1.6", 13, 7), ("1.8", 14, 7), ("1.9", 15, 8),
    ("1.11", 16, 8), ("1.12", 17, 8), ("1.14", 18, 8), ("1.15", 19, 8), ("1.16", 19, 9), ("1.17", 20, 9),
    ("1.18", 21, 10),
)  # fmt: skip
"""Release of ONNX Runtime, and the newest opset and IR version it reads: the table in ONNX Runtime's documentation
(reference/compatibility), which ends with 1.20."""
LAST_TOLD = "1.20"
DTYPES: Mapping[int, tuple[str, float]] = {
    1: ("float32", 4), 2: ("uint8", 1), 3: ("int8", 1), 4: ("uint16", 2), 5: ("int16", 2), 6: ("int32", 4),
    7: ("int64", 8), 8: ("string", 0), 9: ("bool", 1), 10: ("float16", 2), 11: ("float64", 8), 12: ("uint32", 4),
    13: ("uint64", 8), 14: ("complex64", 8), 15: ("complex128", 16), 16: ("bfloat16", 2), 17: ("float8e4m3fn", 1),
    18: ("float8e4m3fnuz", 1), 19: ("float8e5m2", 1), 20: ("float8e5m2fnuz", 1), 21: ("uint4", 0.5), 22: ("int4", 0.5),
    23: ("float4e2m1", 0.5),
}  # fmt: skip
"""Number of a type -> its name and bytes."""
DEEPEST = 16
"""Graphs within graphs; ONNX Runtime and protobuf itself have such limits too."""


@dataclass(frozen=True)
class Onnx:
    """ONNX models, all of whose operators ONNX Runtime computes itself."""

    suffix: ClassVar[str] = ".onnx"
    runtime: ClassVar[str] = "onnxruntime"

    def read(self, path: Path) -> FileReport:
        """Read a file; weights that it keeps in other files are not opened.

        Raises:
            Malformed: truncated or foreign.
        """
        model = protobuf.read_fields(path.read_bytes())
        opsets = {
            protobuf.read_text(each, 1) or DOMAIN: protobuf.read_integer(each, 2)
            for each in map(protobuf.read_fields, protobuf.read_messages(model, 8))
        }
        graph, ir = protobuf.read_fields(protobuf.read_message(model, 7)), protobuf.read_integer(model, 1)
        if not graph or not opsets or not ir:
            raise Malformed("it holds no graph, or does not say of which version")
        nodes = list(_walk_nodes(graph))
        constants = {name for name, _, _ in map(_read_tensor, protobuf.read_messages(graph, 5))}
        return FileReport(
            format="ONNX",
            version=", ".join([f"IR {ir}", *(f"opset {number} of {name}" for name, number in opsets.items())]),
            needs={"ONNX Runtime": find_oldest_release(opsets, ir)},
            operators=count_operators((_name_operator(node), "ONNX Runtime") for node in nodes),
            xnnpack="does not apply: ONNX Runtime's CPU provider has kernels of its own",
            weights_bytes=sum_bytes(_list_weights(graph, nodes)),
            inputs=tuple(
                spec for spec in map(_read_spec, protobuf.read_messages(graph, 11)) if spec.name not in constants
            ),
            outputs=tuple(map(_read_spec, protobuf.read_messages(graph, 12))),
            metadata=_read_metadata(model),
        )

    def read_origin(self, path: Path) -> FileOrigin:
        """Read the digest in the model's properties, and the types of its weights."""
        return find_origin(self.read(path), NETWORK_DIGEST)


def find_oldest_release(opsets: Mapping[str, int], ir: int) -> str:
    """The first release that reads such a file, as far as its makers' table goes."""
    opset = opsets.get(DOMAIN, 0)
    release = next((name for name, newest, newest_ir in RELEASES if opset <= newest and ir <= newest_ir), "")
    return release or f"newer than {LAST_TOLD}, where its table of versions ends"


def _walk_nodes(graph: Fields, depth: int = 0) -> Iterator[Fields]:
    """Nodes of a graph, and of the graphs that are attributes of these."""
    if depth > DEEPEST:
        raise Malformed(f"graphs within graphs, more than {DEEPEST} deep")
    for node in map(protobuf.read_fields, protobuf.read_messages(graph, 1)):
        yield node
        for attribute in map(protobuf.read_fields, protobuf.read_messages(node, 5)):
            for inner in [*protobuf.read_messages(attribute, 6), *protobuf.read_messages(attribute, 11)]:
                yield from _walk_nodes(protobuf.read_fields(inner), depth + 1)


def _name_operator(node: Fields) -> str:
    """The operator, with its domain where that is not ONNX's own."""
    name, domain = protobuf.read_text(node, 4), protobuf.read_text(node, 7)
    if not name:
        raise Malformed("a node without an operator")
    return name if domain in {"", DOMAIN} else f"{domain}.{name}"


def _list_weights(graph: Fields, nodes: list[Fields]) -> Iterator[tuple[str, int]]:
    """Initializers, and tensors that are attributes (of Constant)."""
    attributes = [protobuf.read_fields(each) for node in nodes for each in protobuf.read_messages(node, 5)]
    tensors = [
        *protobuf.read_messages(graph, 5),
        *(tensor for each in attributes for tensor in protobuf.read_messages(each, 5)),
    ]
    for _, dtype, size_bytes in map(_read_tensor, tensors):
        yield dtype, size_bytes


def _read_tensor(content: bytes) -> tuple[str, str, int]:
    """Name, type and bytes of a tensor, the last from its shape."""
    tensor = protobuf.read_fields(content)
    name, size = _name_dtype(protobuf.read_integer(tensor, 2))
    sizes = protobuf.read_sizes(tensor, 1)
    elements = prod(sizes)
    raw = protobuf.read_message(tensor, 9)
    size_bytes = int(elements * size + 0.5)
    if raw and size and len(raw) != size_bytes:
        raise Malformed(
            f"tensor '{protobuf.read_text(tensor, 8)}' has {len(raw)} bytes, its shape asks for {size_bytes}"
        )
    return protobuf.read_text(tensor, 8), name, size_bytes


def _read_spec(content: bytes) -> TensorSpec:
    """An input or output; a dimension with a name, or none, takes any size."""
    info = protobuf.read_fields(content)
    kind = protobuf.read_fields(protobuf.read_message(protobuf.read_fields(protobuf.read_message(info, 2)), 1))
    sizes = [
        protobuf.read_fields(each)
        for each in protobuf.read_messages(protobuf.read_fields(protobuf.read_message(kind, 2)), 1)
    ]
    shape = tuple(protobuf.read_integer(size, 1) if 1 in size else -1 for size in sizes)
    return TensorSpec(protobuf.read_text(info, 1), shape, _name_dtype(protobuf.read_integer(kind, 1))[0])


def _name_dtype(number: int) -> tuple[str, float]:
    return DTYPES.get(number, (f"type {number}", 0))


def _read_metadata(model: Fields) -> dict[str, str]:
    producer = f"{protobuf.read_text(model, 2)} {protobuf.read_text(model, 3)}".strip()
    told = {"producer": producer, "description": shorten(protobuf.read_text(model, 6))}
    entries = map(protobuf.read_fields, protobuf.read_messages(model, 14))
    own = {protobuf.read_text(entry, 1): shorten(protobuf.read_text(entry, 2)) for entry in entries}
    return {key: text for key, text in told.items() if text} | own


plugin: type[Reader] = Onnx
