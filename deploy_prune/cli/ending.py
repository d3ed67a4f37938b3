"""How a command ends that does not come to its end: which error of ours an exception is, and who is still listening."""

from __future__ import annotations

import errno
import os
import select
import sys

from deploy_prune.causes import find_missing_library, is_out_of_memory
from deploy_prune.errors import DeployPruneError, InputError, MissingDependency, StorageError, Unavailable

STDOUT, STDERR = 1, 2
UNUSABLE = {errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR, errno.ENOTDIR, errno.ENXIO}
"""What is wrong with a path itself, whoever asks for it."""


def name_error(error: Exception) -> DeployPruneError | None:
    """The error of ours that an exception comes to; None: a fault of ours."""
    if is_out_of_memory(error) and (isinstance(error, InputError) or not isinstance(error, DeployPruneError)):
        return _name_memory(error)  # which says nothing of the input that was being read
    if isinstance(error, DeployPruneError):
        return error
    if library := find_missing_library(error):
        return library
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("deploy_prune"):
        # A verb that works on networks imports torch before any plugin can say that it is missing.
        return MissingDependency(error.name.partition(".")[0], "prune")
    if isinstance(error, ValueError) and "embedded null" in str(error):  # of a record, or of a user's own code
        return InputError("a path has the character NUL in it, which no path can have", hint="check the names given")
    return _name_refusal(error) if isinstance(error, OSError) else None


def _name_refusal(error: OSError) -> DeployPruneError | None:
    """What the file system refuses; None: what nobody but us can have caused."""
    from deploy_prune.records import REFUSED

    if error.errno in REFUSED:
        hint = "free space or choose another output folder"
        return StorageError(f"the file system refused: {error}", hint=hint)
    if error.errno in UNUSABLE:
        return InputError(f"a path cannot be used: {error.strerror}: {error.filename}", hint="check the path")
    return None


def _name_memory(error: Exception) -> Unavailable:
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    hint = "close other programs, raise the limit (ulimit -v), or give smaller images, batches or networks"
    return Unavailable(f"memory ran out: {said}", hint=hint)


def is_unheard(leaving: SystemExit | BrokenPipeError) -> bool:
    """Whether a command ended because nobody reads its stdout or stderr any more; typer and rich then exit with 1."""
    cause = leaving.__context__ if isinstance(leaving, SystemExit) else leaving
    return isinstance(cause, BrokenPipeError) and (_is_broken(STDOUT) or _is_broken(STDERR))


def _is_broken(descriptor: int) -> bool:
    """Whether the other end of a pipe is closed; that of a worker of ours would be a fault."""
    if sys.platform == "win32":  # which has no poll
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))


def fill_closed_streams() -> bool:
    """Open /dev/null where stdin, stdout or stderr are closed, lest a file of ours takes the place of one.

    Returns:
        Whether stdout was open.
    """
    is_heard = sys.stdout is not None
    for descriptor in range(3):
        if not _is_open(descriptor):
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
            os.set_inheritable(descriptor, True)
    if sys.stderr is None:
        sys.stderr = open(STDERR, "w", closefd=False)  # noqa: SIM115 (it stays open)
    return is_heard


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def stop_writing() -> None:
    """Let what is still in buffers go nowhere: the interpreter must not trip over a stdout that is full or closed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDOUT)
    if sys.platform != "win32" and _is_broken(STDERR):
        os.dup2(nowhere, STDERR)
