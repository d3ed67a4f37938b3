"""Evaluates an ML program operator by operator, every result in the type and shape that the program states.

Arithmetic is fp32; a result that the program declares as fp16 is rounded to fp16 before the next operator reads it. So
an fp16 package shows the error of storing fp16, which every chip has, not the order in which some chip adds.
"""

from __future__ import annotations

import inspect
from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deploy_prune.errors import InputError, NotVerifiable
from deploy_prune.formats.mil.operators import CONSTANTS, OPERATORS
from deploy_prune.formats.mil.program import Operation, Program, ResultName, TensorType

HALF, SINGLE = np.dtype("<f2"), np.dtype("<f4")


class Evaluator:
    """A program with its constants evaluated, ready to run."""

    def __init__(self, program: Program) -> None:
        """Check every operator and evaluate the constants.

        Raises:
            NotVerifiable: an operator, or an argument of one, that is not in the table.
            InputError: an operator reads what no earlier one has made, or constants do not fit.
        """
        _check(program)
        self._program = program
        self._constants: dict[str, Any] = {}
        for operation in program.operations:
            if operation.kind in CONSTANTS:
                self._constants |= _evaluate(operation, self._constants)
        self._operations = tuple(each for each in program.operations if each.kind not in CONSTANTS)
        self._finished = _find_last_uses(self._operations, program.outputs)

    def run(self, arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """The program's outputs, in its order, for its inputs in theirs.

        Raises:
            InputError: an input of another shape, or a result that is not what the program declares.
        """
        values = self._take_inputs(arrays)
        known = ChainMap(values, self._constants)
        for operation, finished in zip(self._operations, self._finished, strict=True):
            values |= _evaluate(operation, known)
            for name in finished:
                values.pop(name, None)
        return tuple(np.array(known[name]) for name in self._program.outputs)

    def layers(self, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """What every operator gives, by the program's names, in order; constants are not among them.

        Raises:
            InputError: see `run`.
        """
        given, results = self._take_inputs(arrays), dict[str, Any]()
        known = ChainMap(results, given, self._constants)
        for operation in self._operations:
            results |= _evaluate(operation, known)
        return {name: value for name, value in results.items() if isinstance(value, np.ndarray)}

    def _take_inputs(self, arrays: Sequence[np.ndarray]) -> dict[str, Any]:
        given = zip(self._program.inputs.items(), arrays, strict=True)
        return {name: _convert_to_declared(array, kind, name) for (name, kind), array in given}


def _check(program: Program) -> None:
    made = set(program.inputs)
    for operation in program.operations:
        label = f"{operation.kind} '{operation.name}'"
        if operation.kind not in OPERATORS:
            raise NotVerifiable(f"not verifiable here: {operation.kind} ({label})", hint="run it on an Apple device")
        try:
            inspect.signature(OPERATORS[operation.kind]).bind(**operation.arguments)
        except TypeError as error:
            raise NotVerifiable(f"not verifiable here: {label}: {error}", hint="run it on an Apple device") from error
        for name in _list_references(operation):
            if name not in made:
                raise InputError(f"{label} reads '{name}', which nothing makes", hint="export it again")
        made |= set(operation.outputs)
    if missing := set(program.outputs) - made:
        raise InputError(f"nothing makes the output '{min(missing)}'", hint="export it again")


def _list_references(operation: Operation) -> list[str]:
    parts = [
        part for value in operation.arguments.values() for part in (value if isinstance(value, tuple) else [value])
    ]
    return [part.name for part in parts if isinstance(part, ResultName)]


def _find_last_uses(operations: Sequence[Operation], outputs: Sequence[str]) -> list[list[str]]:
    """The results that nobody reads after each operation: a deep network's activations together are large."""
    seen = set(outputs)
    finished: list[list[str]] = []
    for operation in reversed(operations):
        ending = {*_list_references(operation), *operation.outputs} - seen
        seen |= ending
        finished.append(sorted(ending))
    return finished[::-1]


def _evaluate(operation: Operation, known: Mapping[str, Any]) -> dict[str, Any]:
    arguments = {name: _resolve(value, known) for name, value in operation.arguments.items()}
    label = f"{operation.kind} '{operation.name}'"
    try:
        with np.errstate(all="ignore"):  # what is not finite is seen in the outputs
            result = OPERATORS[operation.kind](**arguments)
    # whatever does not fit together in a damaged file, numpy says as one of these
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise InputError(f"{label} cannot be evaluated: {error}", hint="export it again") from error
    results = result if isinstance(result, tuple) and len(operation.outputs) > 1 else (result,)
    if len(results) != len(operation.outputs):
        message = f"{label} gives {len(results)} results, the program says {len(operation.outputs)}"
        raise InputError(message, hint="export it again")
    declared = zip(operation.outputs.items(), results, strict=True)
    return {
        name: result if kind is None else _convert_to_declared(result, kind, label) for (name, kind), result in declared
    }


def _resolve(value: Any, known: Mapping[str, Any]) -> Any:
    if isinstance(value, tuple):
        return tuple(_resolve(part, known) for part in value)
    return known[value.name] if isinstance(value, ResultName) else value


def _convert_to_declared(value: Any, kind: TensorType, label: str) -> Any:
    """Bring a result into its declared type, half precision rounded but kept in single; the shape must fit already."""
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    fits = array.ndim == len(kind.shape) and all(
        want in {-1, have} for want, have in zip(kind.shape, array.shape, strict=True)
    )
    if not fits:
        raise InputError(f"{label}: the program says shape {kind.shape}, it is {array.shape}", hint="export it again")
    with np.errstate(all="ignore"):
        typed = array.astype(kind.dtype, copy=False)
    return typed.astype(SINGLE) if typed.dtype == HALF else typed
