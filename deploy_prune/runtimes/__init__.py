"""The contract of a runtime: opens an exported file and runs it. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class TensorSpec:
    """One input of a file; a dimension of -1 takes any size."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class Session(Protocol):
    """A loaded file, ready to run."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The file's inputs in order."""

    def run(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """One inference; arrays in the file's own layout and order."""

    def resize(self, batch: int) -> None:
        """Prepare for another batch size, where the format allows it."""


class Runtime(Protocol):
    """Loads files of some formats; the fields of the plugin are its options."""

    suffixes: ClassVar[tuple[str, ...]]
    untimed: ClassVar[str]
    """Why times taken here say nothing about where the file will run; empty: they say something."""

    def version(self) -> str:
        """Version of the runtime. Raises MissingDependency where it is not installed."""

    def import_package(self) -> None:
        """Import the vendor's package, so that `open` takes and times the file alone. Raises MissingDependency."""

    def open(self, path: Path, *, threads: int) -> Session:
        """Load a file. Raises InputError for a truncated or foreign file."""
