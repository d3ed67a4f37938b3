"""Verifies .mlpackage folders on any machine: our own evaluation of the saved program. It says nothing about time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from deploy_prune.errors import InputError, MissingDependency
from deploy_prune.timing.runtimes import Runtime, check_batch
from deploy_prune.values import NodeTime, TensorSpec
from deploy_prune.version import __version__

if TYPE_CHECKING:
    import numpy as np

    from deploy_prune.formats.mil import Evaluator
    from deploy_prune.formats.mil.program import Program


@dataclass(frozen=True)
class CoreML:
    """Evaluates ML programs operator by operator with numpy; needs nothing of Apple's."""

    suffixes: ClassVar[tuple[str, ...]] = (".mlpackage",)
    untimed: ClassVar[str] = "Core ML runs on Apple devices; here its files are only verified"

    def version(self) -> str:
        """Version of the evaluator, which is this package."""
        return __version__

    def prepare(self, _: Path) -> None:
        """Import the evaluator. Raises MissingDependency where numpy is not installed."""
        try:
            import numpy  # noqa: F401 - loading it here keeps its time out of `open`
        except ModuleNotFoundError as error:
            raise MissingDependency("numpy", "coreml") from error

    def open(self, path: Path, *, threads: int) -> CoreMLSession:
        """Load a package. Threads are numpy's own business.

        Raises:
            InputError: missing, truncated or no package of an ML program.
            NotVerifiable: it holds an operator that nothing here evaluates.
        """
        del threads
        from deploy_prune.formats.mil import Evaluator, read_package

        program = read_package(path)
        try:
            evaluator = Evaluator(program)
        except InputError as error:
            raise InputError(f"{path}: {error.message}", hint=error.hint) from error
        return CoreMLSession(program, evaluator, path)


class CoreMLSession:
    """A loaded package."""

    def __init__(self, program: Program, evaluator: Evaluator, path: Path) -> None:
        self._program = program
        self._evaluator = evaluator
        self._path = path

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The package's inputs in the order of its description."""
        import numpy as np

        kinds = self._program.inputs.items()
        return tuple(TensorSpec(name, kind.shape, np.dtype(kind.dtype).name) for name, kind in kinds)

    def run(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """One evaluation; arrays in the file's own layout and order."""
        return self._evaluator.run(arrays)

    def layers(self, *arrays: np.ndarray) -> Mapping[str, np.ndarray]:
        """What every operator of the program gives in one evaluation; the same numbers as those of `run`."""
        return self._evaluator.layers(arrays)

    def profile(self, *arrays: np.ndarray, runs: int) -> tuple[NodeTime, ...]:
        """None: times taken here would say nothing."""
        del arrays, runs
        return ()

    def delegation(self) -> None:
        """None: it is evaluated operator by operator."""

    def resize(self, batch: int) -> None:
        """Nothing to prepare.

        Raises:
            InputError: the package was exported for one batch size.
        """
        check_batch(self._path, self.inputs, batch)


plugin: type[Runtime] = CoreML
