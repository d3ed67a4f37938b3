"""The contract of a runtime: opens an exported file and runs it. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from deploy_prune.errors import InputError
from deploy_prune.plugins import Kind
from deploy_prune.values import Delegation, NodeTime, TensorSpec

if TYPE_CHECKING:
    import numpy as np


class Session(Protocol):
    """A loaded file, ready to run."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The file's inputs in order."""

    def run(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run one inference: an array (batch, ...) per input and per output, in the file's own layout and order."""

    def layers(self, *arrays: np.ndarray) -> Mapping[str, np.ndarray]:
        """Give what every operator of the file returns in one inference, (batch, ...), by the file's names.

        Outputs are among them, inputs and constants are not. Empty where the runtime shows none. Whatever optimises
        or delegates is off, so that these are not always the very numbers of `run`.

        Raises MissingDependency where this needs a package more than `run` does.
        """

    def profile(self, *arrays: np.ndarray, runs: int) -> tuple[NodeTime, ...]:
        """Give what every node takes, in ms, in the order in which they run: the median over `runs` inferences.

        Empty where the runtime has no profiler.

        Raises MissingDependency where this needs a package more than `run` does.
        """

    def delegation(self) -> Delegation | None:
        """How many operators of the file a delegate took here; None: the runtime has none that says so."""

    def resize(self, batch: int) -> None:
        """Prepare for another batch size, where the format allows it."""


class Opener(Protocol):
    """Opens files of one runtime, here or on a device."""

    def open(self, path: Path, *, threads: int) -> Session:
        """Load a file. Raises InputError for a truncated or foreign file."""


class Runtime(Protocol):
    """Loads files of some formats; the fields of the plugin are its options."""

    suffixes: ClassVar[tuple[str, ...]]
    """The endings of the files that it runs, such as `.tflite`."""
    untimed: ClassVar[str]
    """Why times taken here say nothing about where the file will run; empty: they say something."""

    def version(self) -> str:
        """Version of the runtime. Raises MissingDependency where it is not installed."""

    def prepare(self, path: Path, /) -> None:
        """Import the vendor's package, so that `open` takes and times the file alone.

        Raises:
            MissingDependency: the package is not installed.
            InputError: the file would take far more memory than its size says.
        """

    def open(self, path: Path, *, threads: int) -> Session:
        """Load a file. Raises InputError for a truncated or foreign file."""


RUNTIMES: Kind[Runtime] = Kind("runtimes")


def check_batch(path: Path, inputs: Sequence[TensorSpec], batch: int) -> None:
    """Refuse a batch size that a file was not exported for.

    Raises:
        InputError: names the size that it takes.
    """
    for spec in inputs:
        if spec.shape and spec.shape[0] not in {-1, batch}:
            message = f"{path} takes batches of {spec.shape[0]} alone, not {batch}"
            raise InputError(message, hint="run it image by image")
