"""Runs .tflite files with LiteRT (XNNPACK on the CPU)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from deploy_prune.errors import InputError, MissingDependency
from deploy_prune.processes.silence import silence
from deploy_prune.timing.delegation import Node, count_delegated
from deploy_prune.timing.runtimes import Runtime
from deploy_prune.values import Delegation, NodeTime, TensorSpec

if TYPE_CHECKING:
    import numpy as np

MAGIC = b"TFL3"
DELEGATE = "DELEGATE"
"""What LiteRT calls the nodes that stand for what a delegate took."""
LACKING = re.compile(r"Didn't find op for builtin opcode '(\w+)'")
"""How LiteRT says that it has no kernel for an operator."""
NUMBERED = re.compile(r"serving_default_(args|output)_(\d+)(_output)?")
"""How litert-torch names what goes in and out; the number is the place in the torch call. Only
files from before ours had names of their own are read by it."""


@dataclass(frozen=True)
class LiteRT:
    """LiteRT's interpreter with its default delegate."""

    suffixes: ClassVar[tuple[str, ...]] = (".tflite",)
    untimed: ClassVar[str] = ""

    def version(self) -> str:
        """Version of the runtime. Raises MissingDependency where it is not installed."""
        try:
            return version("ai-edge-litert")
        except PackageNotFoundError as error:
            raise MissingDependency("ai-edge-litert", "litert") from error

    def prepare(self, _: Path) -> None:
        """Import LiteRT. Raises MissingDependency where it is not installed."""
        _import_package()

    def open(self, path: Path, *, threads: int) -> LiteRTSession:
        """Load a file.

        Raises:
            InputError: missing, truncated or no .tflite file.
            MissingDependency: LiteRT is not installed.
        """
        return LiteRTSession(_open_interpreter(path, num_threads=threads), path)


class LiteRTSession:
    """A loaded .tflite file. Not a value: the interpreter holds the tensors of the last run."""

    def __init__(self, interpreter: Any, path: Path) -> None:
        signatures = interpreter.get_signature_list()
        self._interpreter = interpreter
        self._path = path
        names = next(iter(signatures.values())) if len(signatures) == 1 else {}
        self._inputs = _sort_by_call(interpreter.get_input_details(), names.get("inputs", ()))
        self._outputs = _sort_by_call(interpreter.get_output_details(), names.get("outputs", ()))

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The file's inputs in the order of the torch call."""
        return tuple(
            TensorSpec(detail["name"], tuple(map(int, detail["shape_signature"])), detail["dtype"].__name__)
            for detail in self._inputs
        )

    def run(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """One inference; arrays in the file's own layout and order."""
        for detail, array in zip(self._inputs, arrays, strict=True):
            self._interpreter.set_tensor(detail["index"], array)
        self._interpreter.invoke()
        return tuple(self._interpreter.get_tensor(detail["index"]) for detail in self._outputs)

    def layers(self, *arrays: np.ndarray) -> Mapping[str, np.ndarray]:
        """What every operator gives in one inference without the default delegate, which keeps its own to itself.

        Raises:
            InputError: the file is no longer there, or damaged.
        """
        session = LiteRTSession(_open_interpreter(self._path, num_threads=1, **_make_showing_options()), self._path)
        session.resize(len(arrays[0]))
        session.run(*arrays)
        return session._read_written()

    def _read_written(self) -> dict[str, np.ndarray]:
        """The tensors that operators wrote, in order; a name that several have is given its number as well."""
        names = {detail["index"]: detail["name"] for detail in self._interpreter.get_tensor_details()}
        written: dict[str, np.ndarray] = {}
        for operator in self._interpreter._get_ops_details():  # there is no public way to what writes a tensor
            for index in operator["outputs"]:
                name = names.get(index, "")
                key = name if name and name not in written else f"{name}#{index}"
                written[key] = self._interpreter.get_tensor(index)
        return written

    def profile(self, *arrays: np.ndarray, runs: int) -> tuple[NodeTime, ...]:
        """None: LiteRT's Python package has no profiler."""
        del arrays, runs
        return ()

    def delegation(self) -> Delegation:
        """What XNNPACK took, by the nodes of the open file; there is no public way to them."""
        nodes = self._interpreter._get_ops_details()
        operators = sum(node["op_name"] != DELEGATE for node in nodes)
        return count_delegated([Node(tuple(node["inputs"]), tuple(node["outputs"])) for node in nodes], operators)

    def resize(self, batch: int) -> None:
        """Prepare for another batch size.

        Raises:
            InputError: the file was exported for one batch size.
        """
        for detail in self._inputs:
            shape = list(map(int, detail["shape_signature"]))
            if shape[0] not in {-1, batch}:
                hint = "run it image by image"
                raise InputError(f"{self._path} takes batches of {shape[0]} alone, not {batch}", hint=hint)
            self._interpreter.resize_tensor_input(detail["index"], [batch, *shape[1:]])
        self._interpreter.allocate_tensors()


def _import_package() -> Any:
    try:
        with silence():
            from ai_edge_litert import interpreter
    except ModuleNotFoundError as error:
        raise MissingDependency("ai-edge-litert", "litert") from error
    return interpreter


def _open_interpreter(path: Path, **options: Any) -> Any:
    """Open a file, with its tensors allocated. Raises InputError for what is no whole .tflite file."""
    _check_magic(path)
    package = _import_package()
    try:
        with silence():
            interpreter = package.Interpreter(model_path=str(path), **options)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        if lacking := LACKING.search(reason):
            message = f"{path} has an operator that LiteRT does not run: {lacking[1]}"
            raise InputError(
                message, hint="write what needs it with other operators, or take another format"
            ) from error
        raise InputError(f"{path} is damaged or needs another runtime: {reason}", hint="export it again") from error
    return interpreter


def _make_showing_options() -> Mapping[str, Any]:
    resolvers = _import_package().OpResolverType
    return {
        "experimental_preserve_all_tensors": True,
        "experimental_op_resolver_type": resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    }


def _check_magic(path: Path) -> None:
    """Refuse what is no .tflite file before native code reads it."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", hint="check the path and who may read it") from error
    if head[4:8] != MAGIC:
        raise InputError(f"{path} is not a .tflite file", hint="export it again, or check the path")


def _sort_by_call(details: Sequence[Mapping[str, Any]], names: Sequence[str]) -> tuple[Mapping[str, Any], ...]:
    """Where names are litert-torch's, their numbers say the order of the torch call; else the file lists them in it."""
    numbers = [None if detail["name"] in names else _read_number(detail["name"]) for detail in details]
    if len(names) != len(details) or None in numbers or len(set(numbers)) != len(numbers):
        return tuple(details)
    return tuple(detail for _, detail in sorted(zip(numbers, details, strict=True), key=lambda pair: pair[0] or 0))


def _read_number(name: str) -> int | None:
    match = NUMBERED.fullmatch(name)
    return int(match[2]) if match else None


plugin: type[Runtime] = LiteRT
