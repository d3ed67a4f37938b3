"""Runs .aimodel folders with Apple's own runtime of Core AI: on Linux (x86-64) and macOS, on the CPU.

On Linux it computes what an iPhone does, with kernels of its own: times say how files differ on it, and nothing of an
iPhone's.
"""

from __future__ import annotations

import asyncio
import atexit
import platform
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from deploy_prune.causes import find_missing_library
from deploy_prune.errors import InputError, MissingDependency, Unavailable
from deploy_prune.formats.aimodel import read_asset
from deploy_prune.processes.silence import silence
from deploy_prune.timing.runtimes import Runtime, check_batch
from deploy_prune.values import NodeTime, TensorSpec

if TYPE_CHECKING:
    import numpy as np

PACKAGE, EXTRA = "coreai-core", "coreai"
FUNCTION = "main"
Result = TypeVar("Result")


@dataclass(frozen=True)
class CoreAI:
    """Core AI with the runtime of its Python package, or the system's from macOS 27 on."""

    suffixes: ClassVar[tuple[str, ...]] = (".aimodel",)
    untimed: ClassVar[str] = ""

    def version(self) -> str:
        """Version of the runtime, and what its times are not. Raises MissingDependency where it is not installed."""
        try:
            version = metadata.version(PACKAGE)
        except metadata.PackageNotFoundError as error:
            raise MissingDependency(PACKAGE, EXTRA) from error
        return f"{version} on {platform.system()}, no iPhone's time"

    def prepare(self, _: Path) -> None:
        """Import the runtime. Raises MissingDependency where it is not installed."""
        _import_runtime()

    def open(self, path: Path, *, threads: int) -> CoreAISession:
        """Load a folder. Threads are the runtime's own business: it keeps to the cores of its process.

        Raises:
            InputError: missing, truncated, changed since it was written, or no program that it runs.
            MissingDependency: the runtime is not installed.
            Unavailable: it is, and cannot be loaded here.
        """
        del threads
        read_asset(path)
        runtime = _import_runtime()
        with silence():
            try:
                function = _wait(_load(path))
            except (RuntimeError, ValueError, KeyError) as error:
                message = f"{path} is damaged or needs another runtime: {_read_reason(error)}"
                raise InputError(message, hint="export it again") from error
        return CoreAISession(path, function, runtime)


class CoreAISession:
    """A loaded folder."""

    def __init__(self, path: Path, function: Any, runtime: Any) -> None:
        self._path = path
        self._function = function
        self._runtime = runtime
        described = function.desc
        self._outputs = tuple(described.output_names)
        self._inputs = tuple(_read_spec(name, described.input_descriptor(name)) for name in described.input_names)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The program's inputs in order."""
        return self._inputs

    def run(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """One inference; arrays in the file's own layout and order. The vendor copies them number by number.

        Raises:
            InputError: the file takes arrays of other shapes or types.
        """
        import numpy as np

        taken = {}
        for spec, array in zip(self._inputs, arrays, strict=True):
            if (array.dtype.name, array.shape) != (spec.dtype, spec.shape):
                wanted, given = f"{spec.dtype}{list(spec.shape)}", f"{array.dtype}{list(array.shape)}"
                message = f"{self._path} takes {wanted} as '{spec.name}', and was given {given}"
                raise InputError(message, hint="give arrays of the shapes and types that the file takes")
            taken[spec.name] = self._runtime.NDArray(np.ascontiguousarray(array))
        outputs = _wait(self._function(taken))
        return tuple(outputs[name].numpy() for name in self._outputs)

    def layers(self, *arrays: np.ndarray) -> Mapping[str, np.ndarray]:
        """None: the runtime shows what it computes in between by numbers, which the file does not hold."""
        del arrays
        return {}

    def profile(self, *arrays: np.ndarray, runs: int) -> tuple[NodeTime, ...]:
        """None: as `layers`."""
        del arrays, runs
        return ()

    def delegation(self) -> None:
        """None: Apple's runtime does not say."""

    def resize(self, batch: int) -> None:
        """Nothing to prepare.

        Raises:
            InputError: the file was exported for another batch size.
        """
        check_batch(self._path, self.inputs, batch)


def _read_spec(name: str, described: Any) -> TensorSpec:
    return TensorSpec(name, tuple(-1 if size is None else size for size in described.shape), described.dtype)


async def _load(path: Path) -> Any:
    """The file's function, which needs nothing of what it was compiled to on disk."""
    asset = import_module("coreai.authoring").AIModelAsset.load(path)
    async with asset.executable() as model:
        return model.load_function(FUNCTION if FUNCTION in model.function_names else model.function_names[0])


def _wait(work: Coroutine[Any, Any, Result]) -> Result:
    return _keep_loop().run_until_complete(work)


@cache
def _keep_loop() -> asyncio.AbstractEventLoop:
    """The one loop of this process: Apple's runtime answers to loops alone."""
    loop = asyncio.new_event_loop()
    atexit.register(loop.close)
    return loop


def _import_runtime() -> Any:
    try:
        with silence():
            import_module("coreai.authoring")  # what compiles files where the system does not
            return import_module("coreai.runtime")
    except ModuleNotFoundError as error:
        raise MissingDependency(PACKAGE, EXTRA) from error
    except ImportError as error:
        if missing := find_missing_library(error):
            raise missing from error
        hint = "its wheels are for Linux on x86-64 with glibc 2.34 and for macOS 26 on Apple silicon"
        raise Unavailable(f"{PACKAGE} cannot be loaded here: {_read_reason(error)}", hint=hint) from error


def _read_reason(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


plugin: type[Runtime] = CoreAI
