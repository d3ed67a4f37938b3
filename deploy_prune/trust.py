"""Which of a user's Python files may be executed: those that he names himself, never one because a record names it.

A run folder can come from anywhere, and its records say by which `path/to/file.py:name` its network and its data are
made. So nothing is executed unless it was named before: a command line names the files of its flags, whoever hands a
configuration over those in it, for as long as the process lives, and `trust_code` is a block for whatever records name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy_prune.errors import UntrustedCode


@dataclass(frozen=True)
class Trust:
    """What may be executed within a block."""

    files: frozenset[str] = frozenset()
    """Files that were named, as absolute paths without links."""
    all_files: bool = False
    """Whether files that nobody named but a record may be executed as well."""


_blocks: list[Trust] = [Trust()]
"""What the blocks that this process is in allow, the innermost last; its threads all work for the same user."""


@contextmanager
def trust_code() -> Iterator[None]:
    """Let the Python files be executed that records name, until the block ends: `with trust_code(): load("RUN")`."""
    with _enter(Trust(all_files=True)):
        yield


@contextmanager
def trust_only(addresses: Iterable[str]) -> Iterator[None]:
    """Let the files of these addresses be executed until the block ends, and no others."""
    with _enter(Trust(frozenset(_find_files(addresses)))):
        yield


def trust_named(addresses: Iterable[str]) -> None:
    """Let the files of these addresses be executed, besides what could be before, until the block around it ends.

    Args:
        addresses: texts that a user wrote, such as `path/to/file.py:name`; those of no file add nothing.
    """
    outer = _blocks[-1]
    _blocks[-1] = Trust(outer.files.union(_find_files(addresses)), outer.all_files)


def refuse_untrusted(addresses: Iterable[str]) -> None:
    """Refuse addresses of files that may not be executed, before it comes to that; those of no file are let by.

    Raises:
        UntrustedCode: names the first such file, and says what to type.
    """
    for file in _find_files(addresses):
        require_trust(Path(file))


def require_trust(path: Path) -> None:
    """Refuse a file that nobody but a record has named.

    Raises:
        UntrustedCode: names the file, and says what to type.
    """
    innermost = _blocks[-1]
    if innermost.all_files or os.path.realpath(path) in innermost.files:
        return
    message = f"a record names the Python file {path}, which is not executed as nobody else has named it"
    hint = "read it; if you trust it, give --trust-code as well (in Python: `with deploy_prune.trust_code():`)"
    raise UntrustedCode(message, hint=hint)


@contextmanager
def _enter(trust: Trust) -> Iterator[None]:
    _blocks.append(trust)
    try:
        yield
    finally:
        _blocks.pop()


def _find_files(addresses: Iterable[str]) -> tuple[str, ...]:
    """The files of those addresses that are of Python files, as absolute paths without links."""
    texts = [each for each in addresses if "\0" not in each and (".py:" in each or each.startswith("file:"))]
    return tuple(os.path.realpath(text.removeprefix("file:").rpartition(":")[0]) for text in texts)
