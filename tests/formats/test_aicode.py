"""Programs that Apple's own package writes, read as its own summary reads them."""

from __future__ import annotations

import inspect
import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from absent import require
from bytecode import file

from deploy_prune.formats.aicode import ELEMENTS, read_program
from deploy_prune.formats.aimodel import read_asset
from deploy_prune.formats.protobuf import Malformed
from deploy_prune.values import TensorSpec


def one(x: Any) -> Any:
    """The package reads the names of arguments, and their types."""
    return x


def three(b: Any, a: Any, c: Any) -> Any:
    return b, a, c


def written(path: Path, graph: Callable[..., Any], *kinds: tuple[tuple[int, ...], str]) -> bytes:
    """The program of a graph that gives back what it takes."""
    from coreai import authoring

    def kind(shape: tuple[int, ...], dtype: str, **named: str) -> Any:
        numbers = vars(authoring)[dtype + "_" * (dtype == "bool")]
        return Annotated[authoring.Value, authoring.TensorType(shape, numbers, **named)]

    names = list(inspect.signature(graph).parameters)
    outputs = tuple(kind(*each, name=f"{name}_out") for name, each in zip(names, kinds, strict=True))
    annotations = dict(zip(names, itertools.starmap(kind, kinds), strict=True))
    graph.__annotations__ = annotations | {"return": outputs[0] if len(outputs) == 1 else tuple[outputs]}
    module = authoring.Module.create()
    with module:
        authoring.graph(graph, provided_name="main")
    authoring.AIProgram(module).save_asset(path)
    return (path / "main.mlirb").read_bytes()


@pytest.mark.parametrize("dtype", [name for name, _ in ELEMENTS.values()])
def test_every_type_of_numbers_is_told_by_its_name(dtype: str, tmp_path: Path) -> None:
    require("coreai")
    program = read_program(written(tmp_path / "net.aimodel", one, ((3, 5, 7), dtype)))
    assert program.inputs == (TensorSpec("x", (3, 5, 7), dtype),)
    assert program.outputs == (TensorSpec("x_out", (3, 5, 7), dtype),)


def test_inputs_and_outputs_keep_their_order_and_their_shapes(tmp_path: Path) -> None:
    require("coreai")
    taken = {"b": ((1, 3, 500, 70_000), "float32"), "a": ((), "uint8"), "c": ((2,), "int32")}
    program = read_program(written(tmp_path / "net.aimodel", three, *taken.values()))
    assert program.inputs == tuple(TensorSpec(name, *each) for name, each in taken.items())
    assert [each.name for each in program.outputs] == ["b_out", "a_out", "c_out"]


def test_operators_are_counted_as_apples_own_summary_counts_them(tiny_aimodel: Path) -> None:
    """Where an operator is made of others, the summary counts those as well."""
    from coreai.authoring import AIModelAsset

    told = AIModelAsset.load(tiny_aimodel).summary()
    assert told
    counts = dict(told.operation_distribution)
    operators = read_program(read_asset(tiny_aimodel).program).operators
    assert operators.count("conv2d") == counts["conv2d"] == 2
    assert operators.count("relu") == counts["relu"] == 1
    assert set(operators) <= counts.keys()


def test_a_program_changed_at_random_is_read_or_refused_as_malformed(tiny_aimodel: Path) -> None:
    """The checksum keeps such programs away, unless somebody writes another."""
    draw, refused = random.Random(0), 0
    content = read_asset(tiny_aimodel).program
    for _ in range(300):
        changed = bytearray(content)
        for _ in range(draw.choice((1, 8, 64))):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        try:
            read_program(bytes(changed))
        except (Malformed, ValueError):
            refused += 1
    assert refused > 100


def test_bytecode_of_another_dialect_is_refused() -> None:
    with pytest.raises(Malformed, match="no graph of Core AI"):
        read_program(file())
