"""Reads .pte files, and the graphs within that were lowered to XNNPACK; needs neither ExecuTorch nor torch.

Field numbers are those of executorch's program.fbs and of the XNNPACK backend's schema.fbs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import ClassVar

from deploy_prune.analysis.readers import (
    XNNPACK,
    FileOrigin,
    FileReport,
    Reader,
    count_operators,
    find_origin,
    judge_delegation,
    shorten,
    sum_bytes,
)
from deploy_prune.formats import flatbuffer, pte
from deploy_prune.formats.flatbuffer import Table, pick_entry
from deploy_prune.formats.protobuf import Malformed
from deploy_prune.formats.xnnpack_graph import Graph, read_graph
from deploy_prune.values import NETWORK_DIGEST, TensorSpec

METHOD = "forward"
KERNEL, DELEGATE = 1, 2
"""Types of instructions; the others move values and jump."""
INT, BOOL, DOUBLE, TENSOR, STRING = 2, 3, 4, 5, 6
"""Types of values."""
XNNPACK_ID = "XnnpackBackend"
OWN = "ExecuTorch"
"""The library whose kernels compute what no delegate took."""
DTYPES: Mapping[int, tuple[str, int]] = {
    0: ("uint8", 1), 1: ("int8", 1), 2: ("int16", 2), 3: ("int32", 4), 4: ("int64", 8), 5: ("float16", 2),
    6: ("float32", 4), 7: ("float64", 8), 11: ("bool", 1), 15: ("bfloat16", 2), 27: ("uint16", 2),
    28: ("uint32", 4), 29: ("uint64", 8),
}  # fmt: skip
"""Number of a scalar type -> its name and bytes."""


@dataclass(frozen=True)
class ExecuTorch:
    """ExecuTorch's program, schema ET12."""

    suffix: ClassVar[str] = ".pte"
    runtime: ClassVar[str] = "executorch"

    def read(self, path: Path) -> FileReport:
        """Read a file.

        Raises:
            InputError, Malformed: truncated or foreign.
        """
        head = pte.check_head(path)
        content = path.read_bytes()
        program = flatbuffer.read_root(content, [pte.IDENTIFIER])
        plans = {plan.text(0): plan for plan in program.tables(1)}
        if not plans:
            raise Malformed("it holds no method")
        main = plans.get(METHOD) or next(iter(plans.values()))
        graphs = [_read_graph(delegate, program, head.segments_at) for delegate in main.tables(7)]
        operators = count_operators(_list_operators(main, graphs))
        return FileReport(
            format="ExecuTorch",
            version=f"{pte.IDENTIFIER.decode()}, schema {program.number(0, '<I')}",
            needs={"ExecuTorch": "not told by the file; its kernels must have the operators below"},
            operators=operators,
            xnnpack=judge_delegation(operators),
            weights_bytes=sum_bytes([*_list_lowered(graphs), *_list_constants(main)]),
            inputs=_read_specs(main, "input", main.numbers(3, "i")),
            outputs=_read_specs(main, "output", main.numbers(4, "i")),
            metadata=_read_metadata(plans),
        )

    def read_origin(self, path: Path) -> FileOrigin:
        """Read the digest that a method without inputs returns, and the types of its weights."""
        return find_origin(self.read(path), f"get_{NETWORK_DIGEST}")


def _read_graph(delegate: Table, program: Table, segments_at: int) -> Graph | str:
    """A graph of XNNPACK, or the name of another backend, whose graphs are its own."""
    name, data = delegate.text(0), delegate.table(1)
    if name != XNNPACK_ID or data is None:
        return name or "unnamed delegate"
    index = data.number(1, "<I")
    if data.number(0, "<b") == 0:
        return read_graph(pick_entry(program.tables(3), index).data(0), program.budget)
    segment: Table = pick_entry(program.tables(4), index)
    start = segments_at + segment.number(0, "<Q")
    return read_graph(program.slice(start, segment.number(1, "<Q")), program.budget)


def _list_operators(plan: Table, graphs: Sequence[Graph | str]) -> Iterator[tuple[str, str]]:
    """Name and kernels of each operator in the order of the instructions."""
    names = [operator.text(0) + (f".{operator.text(1)}" if operator.text(1) else "") for operator in plan.tables(6)]
    for chain in plan.tables(5):
        for instruction in chain.tables(2):
            kind, call = instruction.union(1)
            if call is None or kind not in {KERNEL, DELEGATE}:
                continue
            index = call.number(0, "<i")
            if kind == KERNEL:
                yield pick_entry(names, index), OWN
                continue
            graph: Graph | str = pick_entry(graphs, index)
            if isinstance(graph, str):
                yield f"graph of {graph}", graph
                continue
            for name in graph.operators:
                plan.budget.spend(0)  # any number of calls may name one graph
                yield name, XNNPACK


def _list_lowered(graphs: Sequence[Graph | str]) -> Iterator[tuple[str, int]]:
    """Type and bytes of the constants in XNNPACK's graphs; graphs share those that bear a name."""
    seen: set[str] = set()
    for weight in (weight for graph in graphs if isinstance(graph, Graph) for weight in graph.weights):
        if weight.name not in seen:
            yield weight.dtype, weight.size_bytes
        seen |= {weight.name} - {""}


def _list_constants(plan: Table) -> Iterator[tuple[str, int]]:
    """Type and bytes of the constants outside of delegates; tensors may share one."""
    constants: dict[int, tuple[str, int]] = {}
    for value in plan.tables(2):
        kind, tensor = value.union(1)
        if kind != TENSOR or tensor is None or tensor.table(6) is not None:
            continue
        if buffer := tensor.number(5, "<I"):
            name, size_bytes = _name_dtype(tensor)
            constants[buffer] = name, size_bytes * prod(tensor.sizes(2))
    yield from constants.values()


def _read_specs(plan: Table, word: str, places: Sequence[int]) -> tuple[TensorSpec, ...]:
    """A .pte file does not name what goes in and out."""
    values = plan.tables(2)
    unions = [pick_entry(values, place).union(1) for place in places]
    names = [word] if len(unions) == 1 else [f"{word}_{index}" for index in range(len(unions))]
    return tuple(
        TensorSpec(name, value.sizes(2), _name_dtype(value)[0])
        if kind == TENSOR and value is not None
        else TensorSpec(name, (), "no tensor")
        for name, (kind, value) in zip(names, unions, strict=True)
    )


def _name_dtype(tensor: Table) -> tuple[str, int]:
    number = tensor.number(0, "<b")
    return DTYPES.get(number, (f"scalar type {number}", 1))


def _read_metadata(plans: Mapping[str, Table]) -> dict[str, str]:
    """The methods; those that only return constants are how a .pte file tells facts to an app."""
    told = {"methods": shorten(", ".join(plans))}
    for name, plan in plans.items():
        if name == METHOD or any(chain.tables(2) for chain in plan.tables(5)):
            continue
        values = plan.tables(2)
        told[name] = shorten(", ".join(_word_constant(pick_entry(values, place)) for place in plan.numbers(4, "i")))
    return told


def _word_constant(value: Table) -> str:
    kind, table = value.union(1)
    if table is None:
        return "nothing"
    if kind == STRING:
        return table.text(0)
    if kind == DOUBLE:
        return f"{table.double(0):g}"
    if kind == BOOL:
        return str(bool(table.number(0, "<B")))
    return str(table.number(0, "<q")) if kind == INT else "a value"


plugin: type[Reader] = ExecuTorch
