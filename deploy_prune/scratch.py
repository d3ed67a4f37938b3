"""Temporary folders that are locked while their owner lives, so that those of killed processes can be told and swept.

The system lets go of a lock when its process ends, however it ends; a process number may be somebody else's by then.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "deploy-prune-work-"
"""What the names of our folders begin with in the system's folder for temporary files."""
BESIDE = "beside"
"""The file of a folder that says what else goes with it where its owner is killed, outside of it."""
UNLOCKED = -1
"""Stands for the lock of a folder where the system or its file system has none: such a folder is never swept."""


@contextmanager
def make_scratch() -> Iterator[Path]:
    """A folder of this user alone until the block ends; what killed processes left of theirs is swept first."""
    place = Path(tempfile.gettempdir())
    sweep_scratch()
    with hold_new_folder(place, PREFIX) as folder:
        yield folder


def sweep_scratch() -> None:
    """Remove the temporary folders of this user whose owners are gone."""
    sweep_folders(Path(tempfile.gettempdir()), PREFIX)


def sweep_folders(parent: Path, prefix: str) -> None:
    """Remove the folders of a prefix that `hold_new_folder` made in another, and whose owners are gone."""
    for folder in parent.glob(f"{prefix}*"):
        with suppress(OSError):
            remove_abandoned(folder)


@contextmanager
def hold_new_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder in another, held until the block ends, and then removed."""
    folder, lock = _make_held(parent, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock != UNLOCKED:
            os.close(lock)


def sweep_beside(folder: Path, pattern: str) -> None:
    """Have what matches an absolute pattern swept with the folder, should this process be killed."""
    (folder / BESIDE).write_text(f"{os.getpid()}\n{pattern}")


def remove_abandoned(folder: Path) -> None:
    """Remove a folder that nobody holds any more; one of another user, or one that is held, stays.

    Raises:
        OSError: it cannot be removed.
    """
    lock = _try_lock(folder) if sys.platform != "win32" and folder.lstat().st_uid == os.getuid() else None
    if lock is None or lock == UNLOCKED:
        return
    try:
        _remove_beside(folder)
        shutil.rmtree(folder)
    finally:
        os.close(lock)


def _remove_beside(folder: Path) -> None:
    """Remove what was to go with a folder, if it is this user's, and its owner's number is nobody else's by now."""
    if not (folder / BESIDE).is_file():
        return
    owner, _, pattern = (folder / BESIDE).read_text().partition("\n")
    if Path("/proc", owner).exists():
        return
    for path in Path("/").glob(pattern.removeprefix("/")):
        with suppress(OSError):
            if path.lstat().st_uid == os.getuid():
                path.unlink()


def _make_held(parent: Path, prefix: str) -> tuple[Path, int]:
    """A new folder and its lock; anew where somebody swept it before it was locked."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        lock = _try_lock(folder)
        if lock is not None:
            return folder, lock


def _try_lock(folder: Path) -> int | None:
    """The lock of a folder, as the descriptor that holds it; None where another has it, or removed the folder."""
    if sys.platform == "win32":  # which has no such lock
        return UNLOCKED
    import fcntl

    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # it is gone, or no folder
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), folder.stat()):
            return lock
        os.close(lock)
    except (BlockingIOError, FileNotFoundError):
        os.close(lock)
    except OSError:  # a file system without locks
        os.close(lock)
        return UNLOCKED
    return None
