"""Runs .onnx files with ONNX Runtime on the CPU."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar

from deploy_prune.errors import InputError, MissingDependency
from deploy_prune.formats.onnx_constants import cut_out_constants
from deploy_prune.processes.silence import silence
from deploy_prune.scratch import make_scratch
from deploy_prune.timing.runtimes import Runtime
from deploy_prune.values import NodeTime, TensorSpec

if TYPE_CHECKING:
    import numpy as np

DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}
MOST_GROWN_BYTES = 1 << 30
"""Bytes that any file may compute from constants alone, all tensors together."""
GROWN_SHARE = 8
"""And so many times its own size besides."""
FATAL = 4
"""Log only what ends the process: the exception says the rest."""
KERNEL = "_kernel_time"
"""What the profiler's name of a node's computation ends with; there are others of the same node."""
LEAD_IN = 3
"""Inferences before the profiler's figures count: the first one allocates."""


@dataclass(frozen=True)
class OnnxRuntime:
    """ONNX Runtime's CPU provider, all graph optimisations on (its default)."""

    suffixes: ClassVar[tuple[str, ...]] = (".onnx",)
    untimed: ClassVar[str] = ""

    def version(self) -> str:
        """Version of the runtime. Raises MissingDependency where it is not installed."""
        try:
            return version("onnxruntime")
        except PackageNotFoundError as error:
            raise MissingDependency("onnxruntime", "onnxruntime") from error

    def prepare(self, path: Path) -> None:
        """Import ONNX Runtime, and refuse a file that computes gigabytes from its constants alone.

        Raises:
            InputError: its constants grow beyond all proportion to the file.
            MissingDependency: ONNX Runtime is not installed.
        """
        _import_package()
        _refuse_growth(path)

    def open(self, path: Path, *, threads: int) -> OnnxRuntimeSession:
        """Load a file.

        Raises:
            InputError: missing, truncated or no .onnx file.
            MissingDependency: ONNX Runtime is not installed.
        """
        if not path.is_file():
            raise InputError(f"{path} is not a file", hint="check the path")
        onnxruntime = _import_package()
        return OnnxRuntimeSession(_open_session(str(path), _make_options(onnxruntime, threads), path), path, threads)


class OnnxRuntimeSession:
    """A loaded .onnx file."""

    def __init__(self, session: Any, path: Path, threads: int) -> None:
        self._session = session
        self._path = path
        self._threads = threads
        self._names = tuple(tensor.name for tensor in session.get_inputs())

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The file's inputs in order; a named dimension takes any size."""
        return tuple(
            TensorSpec(
                tensor.name,
                tuple(size if isinstance(size, int) else -1 for size in tensor.shape),
                DTYPES.get(tensor.type, tensor.type),
            )
            for tensor in self._session.get_inputs()
        )

    def run(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """One inference; arrays in the file's own layout and order."""
        return tuple(self._session.run(None, dict(zip(self._names, arrays, strict=True))))

    def layers(self, *arrays: np.ndarray) -> Mapping[str, np.ndarray]:
        """What every node gives in one inference without graph optimisations.

        Raises:
            InputError: the file is no longer there, or damaged.
            MissingDependency: the package onnx is not installed; to run a file takes onnxruntime alone.
        """
        onnxruntime = _import_package()
        names, content = _show_all_outputs(self._path)
        options = _make_options(onnxruntime, 1)
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        given = _open_session(content, options, self._path).run(names, dict(zip(self._names, arrays, strict=True)))
        return dict(zip(names, given, strict=True))

    def profile(self, *arrays: np.ndarray, runs: int) -> tuple[NodeTime, ...]:
        """What every node takes after all graph optimisations; what a node has fused is in its time.

        Raises:
            InputError: the file is no longer there, or damaged.
            MissingDependency: the package onnx is not installed; to run a file takes onnxruntime alone.
        """
        graph = _read_model(self._path).graph
        options = _make_options(_import_package(), self._threads)
        options.enable_profiling = True
        given = dict(zip(self._names, arrays, strict=True))
        with make_scratch() as folder:
            options.profile_file_prefix = str(folder / "profile")
            session = _open_session(str(self._path), options, self._path)
            for _ in range(LEAD_IN + runs):
                session.run(None, given)
            events = json.loads(Path(session.end_profiling()).read_text())
        return tuple(_read_node_times(events, graph.node, LEAD_IN + runs))

    def delegation(self) -> None:
        """None: the CPU runs all of it."""

    def resize(self, batch: int) -> None:
        """Nothing to prepare: ONNX Runtime takes any batch that the file allows.

        Raises:
            InputError: the file was exported for one batch size.
        """
        for spec in self.inputs:
            if spec.shape and spec.shape[0] not in {-1, batch}:
                message = f"{self._path} takes batches of {spec.shape[0]} alone, not {batch}"
                raise InputError(message, hint="export with dynamic_batch = true, or run it image by image")


def _make_options(onnxruntime: Any, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = FATAL
    if threads > 1:
        # Threads that wait for the next inference by spinning would take the cores from whatever is timed in turn.
        options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _open_session(source: str | bytes, options: Any, path: Path) -> Any:
    """A session of a file, or of its content. Raises InputError."""
    try:
        with silence():
            return _import_package().InferenceSession(source, options, providers=["CPUExecutionProvider"])
    # ONNX Runtime's exceptions have no common base below Exception
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path} is no readable .onnx file: {reason}", hint="export it again") from error


def _refuse_growth(path: Path) -> None:
    """Hold what ONNX Runtime infers of the constants' shapes, which computes none of them, against the file's size."""
    try:
        part = cut_out_constants(path)
        if not part.names:
            return
        options = _make_options(_import_package(), 1)
        options.graph_optimization_level = _import_package().GraphOptimizationLevel.ORT_DISABLE_ALL
        grown = _open_session(part.model, options, path).get_outputs()
    except (OSError, ValueError, InputError):
        return  # what is wrong with the file, opening it says
    sizes = {each.name: _count_bytes(each) for each in grown}
    allowed = MOST_GROWN_BYTES + GROWN_SHARE * path.stat().st_size
    if sum(sizes.values()) > allowed:
        name = max(sizes, key=sizes.__getitem__)
        message = f"{path} computes {sum(sizes.values()) >> 20:,} MB from its constants alone, most of it in '{name}'"
        hint = f"a file of {path.stat().st_size:,} bytes may take {allowed >> 20:,} MB: export it again"
        raise InputError(message, hint=hint)


def _count_bytes(tensor: Any) -> int:
    """The bytes of a tensor of the file; 0 where ONNX Runtime infers no shape for it."""
    import numpy as np

    if not all(isinstance(size, int) for size in tensor.shape):
        return 0
    sizes: tuple[int, ...] = tuple(tensor.shape)
    return math.prod(sizes) * np.dtype(DTYPES.get(tensor.type, "uint8")).itemsize


def _show_all_outputs(path: Path) -> tuple[list[str], bytes]:
    """The nodes' outputs in order, and the file's content (below 2 GB) with every one of them an output of the graph.

    Only their names are given: the runtime works out the types.
    """
    model = _read_model(path)
    nodes = (node for node in model.graph.node if node.op_type != "Constant")
    names = [name for node in nodes for name in node.output if name]
    known = {output.name for output in model.graph.output}
    for name in names:
        if name not in known:
            model.graph.output.add(name=name)
    return names, model.SerializeToString()


def _read_model(path: Path) -> Any:
    """The parsed file. Raises InputError, MissingDependency."""
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise MissingDependency("onnx", "onnx") from error
    try:
        return onnx.load(str(path))
    # the file has been opened before: it is gone, or protobuf has an error of its own for what it now holds
    except Exception as error:
        raise InputError(f"cannot read {path} again: {error}", hint="export it again") from error


def _read_node_times(events: Sequence[Mapping[str, Any]], nodes: Sequence[Any], inferences: int) -> Iterator[NodeTime]:
    """What the profiler saw of each node, in the order in which they run."""
    seen: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(KERNEL):
            seen.setdefault(event["name"].removesuffix(KERNEL), []).append(event)
    origins = _Origins(nodes)
    for name, own in seen.items():
        each_time = max(len(own) // inferences, 1)
        durations_us = [event["dur"] for event in own[LEAD_IN * each_time :]] or [own[-1]["dur"]]
        said = own[-1]["args"]
        moved = sum(int(said.get(key, 0)) for key in ("activation_size", "parameter_size", "output_size"))
        ms = median(durations_us) * each_time / 1e3
        yield NodeTime(name, said["op_name"], ms, moved, origins.place(name, said["op_name"]))


class _Origins:
    """Leads from a node that ONNX Runtime made back to the file's, by how it names them.

    A node that it took over or fused others into keeps its name; one in its blocked layout is named after the last
    tensor that it makes (`relu_nchwc`), which may be of an activation behind it; a fused Gemm is `fused NAME`.
    """

    def __init__(self, nodes: Sequence[Any]) -> None:
        self._nodes = nodes
        self._named = {node.name: place for place, node in enumerate(nodes) if node.name}
        self._makers = {tensor: place for place, node in enumerate(nodes) for tensor in node.output}

    def place(self, name: str, operator: str) -> int | None:
        """The place of the file's node; None: there is none."""
        own = name.removeprefix("fused ").partition("/MatMulAddFusion")[0]
        if own in self._named:
            return self._named[own]
        place = self._makers.get(name.removesuffix("_nchwc")) if name.endswith("_nchwc") else None
        while place is not None and self._nodes[place].op_type != operator:
            place = self._makers.get(next(iter(self._nodes[place].input), ""))
        return place


def _import_package() -> Any:
    try:
        with silence():
            import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingDependency("onnxruntime", "onnxruntime") from error
    return onnxruntime


plugin: type[Runtime] = OnnxRuntime
