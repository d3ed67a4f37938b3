"""Keeps what vendors print while they work off the user's terminal, and hands it over when they fail."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator

Transcript = Callable[[], str]


@contextlib.contextmanager
def silence() -> Iterator[Transcript]:
    """Nothing that runs inside reaches stdout, stderr or the log; what it yields gives the text printed so far.

    Native code writes to the file descriptors, Python code to `sys.stdout`: both are turned away. Vendors also
    give the root logger handlers of their own and warn about their own deprecated calls; both end here. The
    descriptors belong to the whole process, so that a progress bar drawn by another thread pauses meanwhile.
    """
    handlers = logging.root.handlers[:]
    with tempfile.TemporaryFile() as native, contextlib.ExitStack() as undo:
        python = io.StringIO()
        undo.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        undo.enter_context(_redirect_descriptor(1, native.fileno()))
        undo.enter_context(_redirect_descriptor(2, native.fileno()))
        undo.enter_context(contextlib.redirect_stdout(python))
        undo.enter_context(contextlib.redirect_stderr(python))
        try:
            yield lambda: _read_transcript(native, python)
        finally:
            logging.root.handlers[:] = handlers


@contextlib.contextmanager
def _redirect_descriptor(descriptor: int, other: int) -> Iterator[None]:
    _flush()
    try:
        saved = os.dup(descriptor)
    except OSError:  # closed: a service without a terminal
        yield
        return
    os.dup2(other, descriptor)
    try:
        yield
    finally:
        _flush()
        os.dup2(saved, descriptor)
        os.close(saved)


def _flush() -> None:
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None and not stream.closed:
            stream.flush()


def _read_transcript(native: io.BufferedRandom, python: io.StringIO) -> str:
    size = os.fstat(native.fileno()).st_size
    return os.pread(native.fileno(), size, 0).decode(errors="replace") + python.getvalue()
