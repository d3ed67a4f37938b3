"""What an exception of anybody comes from: a system library that is missing, or memory that ran out."""

from __future__ import annotations

import re

from deploy_prune.errors import MissingLibrary

_NO_LIBRARY = re.compile(r"(\S+\.(?:so|dylib)[.\d]*): cannot open shared object file: No such file or directory")


def find_missing_library(error: BaseException) -> MissingLibrary | None:
    """The system library for want of which an import failed, by the loader's own message; None: it was something else.

    Packages wrap that message in others of their own, so whatever the error was raised from is read too.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ImportError | OSError) and (missing := read_missing_library(str(cause))):
            return missing
        cause = cause.__cause__ or cause.__context__
    return None


def read_missing_library(said: str) -> MissingLibrary | None:
    """The system library that the loader missed, by its message in what a process said; None: by none."""
    named = _NO_LIBRARY.search(said)
    return MissingLibrary(named[1].rpartition("/")[2]) if named else None


OUT_OF_MEMORY = (
    "can't allocate memory",
    "cannot allocate memory",
    "failed to allocate memory",
    "bad_alloc",
    "bad allocation",
    "out of memory",
)
"""What the messages of vendors say, in whatever case, who have no exception of their own for it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, here or in what the error was raised from: says nothing about what was worked on."""
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause).lower()
        if isinstance(cause, MemoryError) or any(words in text for words in OUT_OF_MEMORY):
            return True
        cause = cause.__cause__
    return False
