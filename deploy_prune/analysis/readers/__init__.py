"""The contract of a reader: what an exported file says of itself. Imports no torch, and runs nothing of the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from deploy_prune.plugins import Kind
from deploy_prune.values import TensorSpec

XNNPACK = "XNNPACK"

_TEXT = 80
"""Characters of a metadata value that are shown."""


@dataclass(frozen=True)
class OperatorCount:
    """Operators of one kind that run the same way."""

    name: str
    count: int
    kernels: str
    """The library whose code computes them; empty where it is not known."""


@dataclass(frozen=True)
class FileReport:
    """What a file needs and holds."""

    format: str
    version: str
    """The format's version in its own terms, such as "opset 18"."""
    needs: Mapping[str, str]
    """Runtime or system -> the oldest version that runs the file, or what is known of it."""
    operators: tuple[OperatorCount, ...]
    """Most frequent first."""
    xnnpack: str
    """Whether XNNPACK takes every operator, in words."""
    weights_bytes: Mapping[str, int]
    """Type of the constants -> their bytes, largest first."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What the file holds for its users; long values are cut."""


@dataclass(frozen=True)
class FileOrigin:
    """What a file says of the network that it was made of, in so far as it says anything."""

    network_digest: str = ""
    """`NetworkIdentity.digest`; empty in files that deploy-prune did not write."""
    weights_bytes: Mapping[str, int] = field(default_factory=dict)
    """Type of the constants -> their bytes, largest first; empty where the file does not tell."""


class Reader(Protocol):
    """Reads files of one format."""

    suffix: ClassVar[str]
    runtime: ClassVar[str]
    """The runtime plugin that runs such files."""

    def read(self, path: Path) -> FileReport:
        """Read a file.

        Raises:
            InputError, Malformed: missing, truncated or foreign; other ValueErrors where its numbers lead nowhere.
            MissingDependency: a package that knows the names of the operators is not installed.
        """

    def read_origin(self, path: Path) -> FileOrigin:
        """Read only which network a file was made of, in what precision: no process is started.

        Raises:
            InputError, Malformed, MissingDependency: as `read` does.
        """


def count_operators(names: Iterable[tuple[str, str]]) -> tuple[OperatorCount, ...]:
    """Operators by name and kernels, most frequent first."""
    counts: dict[tuple[str, str], int] = {}
    for each in names:
        counts[each] = counts.get(each, 0) + 1
    rows = (OperatorCount(name, count, kernels) for (name, kernels), count in counts.items())
    return tuple(sorted(rows, key=lambda row: (-row.count, row.name, row.kernels)))


def sum_bytes(sizes: Iterable[tuple[str, int]]) -> Mapping[str, int]:
    """Bytes by type, largest first; what is empty is left out."""
    bytes_of: dict[str, int] = {}
    for dtype, size_bytes in sizes:
        bytes_of[dtype] = bytes_of.get(dtype, 0) + size_bytes
    return dict(
        sorted(((dtype, size) for dtype, size in bytes_of.items() if size), key=lambda each: (-each[1], each[0]))
    )


def judge_delegation(operators: Iterable[OperatorCount]) -> str:
    """Whether XNNPACK takes every operator, and which ones it leaves."""
    rows = tuple(operators)
    total = sum(row.count for row in rows)
    left = [row for row in rows if row.kernels != XNNPACK]
    if not left:
        return f"takes all {total} operators"
    names = ", ".join(f"{row.name} x {row.count}" for row in left)
    return f"leaves {sum(row.count for row in left)} of {total} operators: {names}"


def find_origin(report: FileReport, key: str) -> FileOrigin:
    """The origin of a file that has been read, whose metadata hold the digest of its network under that key."""
    return FileOrigin(report.metadata.get(key, ""), report.weights_bytes)


def shorten(content: str | bytes) -> str:
    """A metadata value as one short line; bytes that are no text are told by their size."""
    if isinstance(content, bytes):
        try:
            content = content.rstrip(b"\0").decode()
        except UnicodeDecodeError:
            return f"{len(content)} bytes"
    line = " ".join(content.split())
    if not line.isprintable():
        return f"{len(content)} characters that cannot be shown"
    return line if len(line) <= _TEXT else f"{line[: _TEXT - 3]}..."


READERS: Kind[Reader] = Kind("readers")
