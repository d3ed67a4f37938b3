"""Reads .tflite files; LiteRT is asked which operators XNNPACK takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from deploy_prune.analysis import xnnpack_delegation
from deploy_prune.analysis.readers import (
    XNNPACK,
    FileOrigin,
    FileReport,
    Reader,
    count_operators,
    judge_delegation,
    shorten,
    sum_bytes,
)
from deploy_prune.errors import MissingDependency, Unavailable
from deploy_prune.formats import flatbuffer
from deploy_prune.formats.flatbuffer import Table, pick_entry
from deploy_prune.processes.silence import silence
from deploy_prune.values import NETWORK_DIGEST, TensorSpec

IDENTIFIER = b"TFL3"
DETAILS = b"M001"
"""Identifier of the metadata table that task libraries read, itself a flatbuffer."""
OWN = "LiteRT"
"""The library whose kernels compute what XNNPACK leaves."""
OLDEST = "min_runtime_version"
DETAIL_TEXTS = {0: "name", 1: "description", 2: "version", 4: "author", 5: "license"}


@dataclass(frozen=True)
class TFLite:
    """LiteRT's own schema, version 3."""

    suffix: ClassVar[str] = ".tflite"
    runtime: ClassVar[str] = "litert"

    def read(self, path: Path) -> FileReport:
        """Read a file, then have LiteRT open it in a process of its own.

        Raises:
            InputError, Malformed: truncated or foreign.
            MissingDependency: LiteRT, which names the operators, is not installed.
        """
        content = path.read_bytes()
        model = flatbuffer.read_root(content, [IDENTIFIER])
        buffers = [_read_data(buffer) for buffer in model.tables(4)]
        graphs, codes = model.tables(2), _read_codes(model)
        main = pick_entry(graphs, 0)
        places = [[_find_code(codes, operator) for operator in graph.tables(3)] for graph in graphs]
        took, unknown = _ask_delegated(path, len(places[0]))
        kernels = ["" if unknown else XNNPACK if place in took else OWN for place in range(len(places[0]))]
        kinds = [(name, whose) for (name, _), whose in zip(places[0], kernels, strict=True)]
        operators = count_operators(kinds + [(name, "") for others in places[1:] for name, _ in others])
        metadata = _read_metadata(model, buffers)
        newest = max((version for graph in places for _, version in graph), default=1)
        return FileReport(
            format="TensorFlow Lite",
            version=f"schema {model.number(0, '<I')}",
            needs={"TensorFlow Lite": _word_oldest(metadata, newest)},
            operators=operators,
            xnnpack=unknown or judge_delegation(row for row in operators if row.kernels) + _word_further(graphs),
            weights_bytes=sum_bytes(_list_weights(graphs, buffers)),
            inputs=_read_specs(main, main.numbers(1, "i")),
            outputs=_read_specs(main, main.numbers(2, "i")),
            metadata=metadata,
        )

    def read_origin(self, path: Path) -> FileOrigin:
        """Read the digest in the file's metadata, and the types of its weights; LiteRT does not open it."""
        content = path.read_bytes()
        model = flatbuffer.read_root(content, [IDENTIFIER])
        buffers = [_read_data(buffer) for buffer in model.tables(4)]
        digest = _read_metadata(model, buffers).get(NETWORK_DIGEST, "")
        return FileOrigin(digest, sum_bytes(_list_weights(model.tables(2), buffers)))


def _read_data(buffer: Table) -> bytes:
    """Inline, or behind the flatbuffer in files of more than 2 GB."""
    start, size_bytes = buffer.number(1, "<Q"), buffer.number(2, "<Q")
    return buffer.slice(start, size_bytes) if start > 1 else buffer.data(0)


def _read_codes(model: Table) -> list[tuple[str, int]]:
    """Name and version of each kind of operator in the file."""
    names = _read_enumeration("BuiltinOperator")
    named = []
    for code in model.tables(1):
        # the older field is one byte wide and says 127 for what does not fit
        number = max(code.number(0, "<b"), code.number(3, "<i"))
        named.append((code.text(1) or names.get(number, f"operator {number}"), code.number(2, "<i", 1)))
    return named


def _find_code(codes: Sequence[tuple[str, int]], operator: Table) -> tuple[str, int]:
    code: tuple[str, int] = pick_entry(codes, operator.number(0, "<I"))
    return code


def _word_oldest(metadata: Mapping[str, str], newest: int) -> str:
    """The converter's word: it knows no release for operators that came with StableHLO."""
    if OLDEST in metadata:
        return f"{metadata[OLDEST]}, as its converter says"
    return f"not told by the file; its operators are of version {newest} or older"


def _ask_delegated(path: Path, operators: int) -> tuple[frozenset[int], str]:
    """What XNNPACK takes, or why that is not known."""
    try:
        return xnnpack_delegation.ask_delegated(path, operators), ""
    except Unavailable as error:
        return frozenset(), f"not known: {error.message}"


def _word_further(graphs: Sequence[Table]) -> str:
    return f" ({len(graphs) - 1} more graphs of control flow not looked at)" if len(graphs) > 1 else ""


def _list_weights(graphs: Sequence[Table], buffers: Sequence[bytes]) -> Iterator[tuple[str, int]]:
    """Type and bytes of each constant; buffer 0 stands for none, and tensors may share one."""
    names, seen = _read_enumeration("TensorType"), {0}
    for graph in graphs:
        for tensor in graph.tables(0):
            place, number = tensor.number(2, "<I"), tensor.number(1, "<b")
            if place not in seen:
                seen.add(place)
                yield names.get(number, f"type {number}").lower(), len(pick_entry(buffers, place))


def _read_specs(graph: Table, places: Sequence[int]) -> tuple[TensorSpec, ...]:
    names, tensors = _read_enumeration("TensorType"), graph.tables(0)
    listed = [pick_entry(tensors, place) for place in places]
    return tuple(
        TensorSpec(
            tensor.text(3),
            tensor.sizes(7) or tensor.sizes(0),
            names.get(tensor.number(1, "<b"), "unknown").lower(),
        )
        for tensor in listed
    )


def _read_metadata(model: Table, buffers: Sequence[bytes]) -> dict[str, str]:
    metadata = {"description": shorten(model.text(3))} if model.text(3) else {}
    for entry in model.tables(6):
        content: bytes = pick_entry(buffers, entry.number(1, "<I"))
        name = entry.text(0)
        metadata |= _read_details(name, content, model.budget) if content[4:8] == DETAILS else {name: shorten(content)}
    signatures = [signature.text(2) for signature in model.tables(7)]
    return metadata | ({"signatures": ", ".join(signatures)} if signatures else {})


def _read_details(name: str, content: bytes, budget: flatbuffer.Budget) -> dict[str, str]:
    details = flatbuffer.read_root(content, [DETAILS], budget)
    texts = {f"{name}.{key}": shorten(details.text(field)) for field, key in DETAIL_TEXTS.items()}
    graphs = details.tables(3)
    files = [*details.tables(6), *(file for graph in graphs for file in graph.tables(4))]
    for graph in graphs:
        for field in (2, 3):
            files += [file for tensor in graph.tables(field) for file in tensor.tables(6)]
    texts[f"{name}.files"] = ", ".join(file.text(0) for file in files)
    return {key: text for key, text in texts.items() if text}


def _read_enumeration(name: str) -> Mapping[int, str]:
    """Number -> name, of one enumeration of the schema."""
    try:
        with silence():
            from ai_edge_litert import schema_py_generated as schema
    except ModuleNotFoundError as error:
        raise MissingDependency("ai-edge-litert", "litert") from error
    members: Mapping[str, Any] = vars(vars(schema)[name])
    return {number: key for key, number in members.items() if isinstance(number, int) and not key.startswith("_")}


plugin: type[Reader] = TFLite
