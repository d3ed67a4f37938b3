"""Runs .pte files with ExecuTorch's Python bindings (XNNPACK on the CPU).

The bindings take torch's tensors and link to its libraries, so that this runtime needs torch where the others do not;
of torch nothing computes here.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from deploy_prune.causes import find_missing_library
from deploy_prune.errors import InputError, MissingDependency, Unavailable
from deploy_prune.formats.pte import check_head
from deploy_prune.processes.silence import silence
from deploy_prune.timing.runtimes import Runtime, check_batch
from deploy_prune.values import NodeTime, TensorSpec

if TYPE_CHECKING:
    import numpy as np

METHOD = "forward"
DTYPES = {
    0: "uint8", 1: "int8", 2: "int16", 3: "int32", 4: "int64", 5: "float16", 6: "float32", 7: "float64", 11: "bool",
}  # fmt: skip
"""torch's numbers of its scalar types."""
LOG_PLACE = re.compile(r"^\[\w+\.cpp:\d+\] ")
LACKING = re.compile(r"kernel '([\w.:]+)' not found")
"""How ExecuTorch says that it has no kernel for an operator."""


@dataclass(frozen=True)
class ExecuTorch:
    """ExecuTorch with the backends and kernels of its Python package."""

    suffixes: ClassVar[tuple[str, ...]] = (".pte",)
    untimed: ClassVar[str] = ""

    def version(self) -> str:
        """Version of the runtime. Raises MissingDependency where it is not installed."""
        try:
            return version("executorch")
        except PackageNotFoundError as error:
            raise MissingDependency("executorch", "executorch") from error

    def prepare(self, _: Path) -> None:
        """Import ExecuTorch's bindings. Raises MissingDependency where they or torch are not installed."""
        _import_bindings()

    def open(self, path: Path, *, threads: int) -> ExecuTorchSession:
        """Load a file.

        Raises:
            InputError: missing, truncated or no .pte file.
            MissingDependency: ExecuTorch or torch is not installed.
            Unavailable: they do not fit each other.
        """
        check_head(path)
        return ExecuTorchSession(path, _import_bindings(), threads)


class ExecuTorchSession:
    """A loaded .pte file. Not a value: the method holds the tensors of the last run."""

    def __init__(self, path: Path, bindings: Any, threads: int) -> None:
        self._path = path
        self._bindings = bindings
        self._threads = threads
        self._load()

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The file's inputs in the order of the torch call; a .pte file does not name them."""
        meta = self._method.method_meta()
        count = meta.num_inputs()
        names = ["input"] if count == 1 else [f"input_{index}" for index in range(count)]
        infos = (meta.input_tensor_meta(index) for index in range(count))
        return tuple(
            TensorSpec(name, tuple(info.sizes()), DTYPES.get(info.dtype(), f"torch scalar type {info.dtype()}"))
            for name, info in zip(names, infos, strict=True)
        )

    def run(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """One inference; arrays in the file's own layout and order.

        Raises:
            InputError: the file takes arrays of other shapes or types, or is damaged.
        """
        import torch

        if self._pool_state != _POOL.use(self._bindings, self._threads):
            self._load()
        try:
            outputs = self._method.call(tuple(torch.from_numpy(array) for array in arrays))
        except RuntimeError as error:
            given = ", ".join(f"{array.dtype}{list(array.shape)}" for array in arrays)
            wanted = ", ".join(f"{spec.dtype}{list(spec.shape)}" for spec in self.inputs)
            if given == wanted:
                message = f"ExecuTorch cannot run an operator of {self._path} at the shapes that it has: {error}"
                raise InputError(message, hint="write it with other operators, or take another format") from error
            message = f"{self._path} takes {wanted} and was given {given}: {error}"
            raise InputError(message, hint="give arrays of the shapes and types that the file takes") from error
        return tuple(output.numpy() for output in outputs)

    def layers(self, *arrays: np.ndarray) -> Mapping[str, np.ndarray]:
        """None: what XNNPACK took is one operator to ExecuTorch, and the file has no names for the rest."""
        del arrays
        return {}

    def profile(self, *arrays: np.ndarray, runs: int) -> tuple[NodeTime, ...]:
        """None: ExecuTorch's bindings have no profiler."""
        del arrays, runs
        return ()

    def delegation(self) -> None:
        """None: what XNNPACK takes is written into the file."""

    def resize(self, batch: int) -> None:
        """Nothing to prepare: a .pte file runs at the size that it was exported for.

        Raises:
            InputError: the file was exported for another batch size.
        """
        check_batch(self._path, self.inputs, batch)

    def _load(self) -> None:
        self._pool_state = _POOL.use(self._bindings, self._threads)
        verification = self._bindings.Verification.InternalConsistency
        with silence() as said:
            try:
                self._program = self._bindings._load_program(str(self._path), program_verification=verification)
                self._method = self._program.load_method(METHOD)
            except (RuntimeError, ValueError, MemoryError) as error:
                # the exception has but a number; the reason is the first line that the vendor logs
                reason = LOG_PLACE.sub("", (said().strip() or str(error)).splitlines()[0])
                if lacking := LACKING.search(reason):
                    message = f"{self._path} has an operator that ExecuTorch does not run: {lacking[1]}"
                    hint = "write what needs it with other operators, or take another format"
                    raise InputError(message, hint=hint) from error
                message = f"{self._path} is damaged or needs another runtime: {reason}"
                raise InputError(message, hint="export it again") from error


class _Pool:
    """ExecuTorch's threads: one pool per process, and a loaded method may hold on to the pool it was loaded with."""

    def __init__(self) -> None:
        self._state = 0

    def use(self, bindings: Any, threads: int) -> int:
        """Have that many threads; the number of the pool, which tells a session whether to load its file again."""
        if bindings._threadpool_get_thread_count() != threads:
            with silence():
                bindings._unsafe_reset_threadpool(threads)
            self._state += 1
        return self._state


_POOL = _Pool()
"""What the vendor keeps once per process is kept once per process here."""


def _import_bindings() -> Any:
    """The extension module itself: its public wrapper imports the whole exporter, some seconds and 200 MB."""
    try:
        with silence():
            import torch  # noqa: F401 - loads the libraries that the bindings link to

            bindings = importlib.import_module("executorch.extension.pybindings._C")
            bindings._threadpool_get_thread_count()  # the first call looks at the processor and prints what it saw
    except ModuleNotFoundError as error:
        package = "torch" if error.name == "torch" else "executorch"
        raise MissingDependency(package, "executorch") from error
    except ImportError as error:  # a release of executorch is built against one release of torch
        if missing := find_missing_library(error):
            raise missing from error
        reason = str(error).strip().splitlines()[0]
        hint = "pip install 'deploy-prune[executorch]' with the versions of constraints.txt"
        raise Unavailable(f"executorch does not fit the torch that is installed: {reason}", hint=hint) from error
    return bindings


plugin: type[Runtime] = ExecuTorch
