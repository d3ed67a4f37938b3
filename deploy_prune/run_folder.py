"""A run folder: one record per stage, written when the stage is done, so that a killed run goes on where it was."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from deploy_prune.errors import ConfigError, RecordError, StorageError
from deploy_prune.records import explain_storage_errors, read_record, remove_unfinished, write_record
from deploy_prune.scratch import sweep_scratch
from deploy_prune.second_try import try_twice
from deploy_prune.values import BY_DATA, AppForm, Progress, quiet

Result = TypeVar("Result")

RUN = "run.json"
BEGIN_AGAIN = (
    "put a copy of it back, or use the command that began the run with another --out: only it has the settings"
)
"""What to do about a damaged configuration of a run, without which its other records cannot be held to anything."""
SPLITS = "splits.json"
FORM = "form.json"
LOCK = ".lock"
READ_ALONE: dict[str, type] = {"model": str, "data": str, "data_options": dict, "task": str}
"""Keys that are also read without the whole configuration, and what they are."""
LATER_KEYS: dict[str, Any] = {"task": BY_DATA, "refit": False, "select": None, "select_options": {},
                              "refit_images": 512}  # fmt: skip
"""Keys that configurations of before do not have, and what these runs were made with."""
LATER_IN_RECIPES = {"norms": "batch"}
"""The same within the trainings that a configuration describes."""
TRAININGS = ("pretrain", "finetune")
FORMER_KEYS = {"compensate": False}
"""Keys that only configurations of before have, and what runs of today do in their place."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run, for one configuration."""

    path: Path
    progress: Progress = quiet
    """The listener that is told which stage has begun and ended."""

    def stage(self, name: str, kind: type[Result], compute: Callable[[], Result]) -> Result:
        """Give the stage's recorded result; compute and record it if there is none yet.

        Raises:
            WorkerDied: a process that works for the stage was killed, twice: nothing is recorded.
        """
        record = self.path / f"{name}.json"
        if record.exists():
            result = read_record(record, kind)
            self.progress(name, 1, 1, "done before")
            return result
        self.progress(name, 0, 1)
        result = try_twice(compute)
        write_record(record, result)
        self.progress(name, 1, 1)
        return result


@contextmanager
def open_run(path: Path, asked: dict[str, Any], *, progress: Progress = quiet) -> Iterator[RunFolder]:
    """Make or continue the run folder for this configuration, with this process the only one that works in it.

    A folder in which nothing was finished or begun takes any configuration; a run that is refused leaves nothing.

    Raises:
        ConfigError: it was made for another configuration; names the keys.
        StorageError: it cannot be written, or another process works in it.
    """
    if not (path / RUN).exists() and path.is_dir() and _list_visible(path):
        raise ConfigError(f"{path} is not empty and no run folder", hint="choose another --out")
    sweep_scratch()
    with _remove_unless_begun(path), _hold_lock(path):
        if not is_begun(path):
            write_record(path / RUN, asked, dict)
        else:
            _refuse_changes(path, asked)
            remove_unfinished(path)
        yield RunFolder(path, progress)


@contextmanager
def _remove_unless_begun(path: Path) -> Iterator[None]:
    """Where the block fails before anything was begun in a run folder, take away what the block made."""
    made = [each for each in (path, *path.parents) if not each.exists()]
    was_there = (path / RUN).exists()
    try:
        yield
    except BaseException:
        if not was_there and path.is_dir() and not is_begun(path):
            for name in (RUN, SPLITS, FORM, LOCK):
                (path / name).unlink(missing_ok=True)
            with suppress(OSError):  # somebody else has put something in
                for folder in made:
                    folder.rmdir()
        raise


def is_begun(path: Path) -> bool:
    """Whether anything was begun or finished in a run folder, so that it is held to its configuration."""
    return not _list_visible(path) <= {RUN, SPLITS, FORM}


def task_asked_for(path: Path) -> str:
    """The name of the task that a run was made for; where it was left to the data, what these said.

    Raises:
        RecordError: not a run folder.
    """
    task: str = {**LATER_KEYS, **read_asked(path)}["task"]
    if task != BY_DATA:
        return task
    unlabelled = (path / FORM).is_file() and not read_record(path / FORM, AppForm).labels
    return "none" if unlabelled else "classification"


def read_asked(path: Path) -> dict[str, Any]:
    """Read the configuration that a run folder was made for.

    Raises:
        RecordError: not a run folder.
    """
    if not (path / RUN).is_file():
        raise RecordError(f"{path} is no run folder: it has no {RUN}", hint="name the --out of a run")
    asked: dict[str, Any] = read_record(path / RUN, dict, remedy=BEGIN_AGAIN)
    for key, kind in READ_ALONE.items():
        if not isinstance(asked.get(key, kind()), kind):
            message = f"{path / RUN} is damaged: its {key} is a {type(asked[key]).__name__}"
            raise RecordError(message, hint=BEGIN_AGAIN)
    return asked


def _list_visible(path: Path) -> set[str]:
    """The names in a folder but for the lock and what an interrupted write left behind."""
    return {entry.name for entry in path.iterdir() if not entry.name.startswith(".")}


def _complete(asked: dict[str, Any]) -> dict[str, Any]:
    """A configuration with the keys that others have, as it would have them."""
    whole = {**LATER_KEYS, **FORMER_KEYS, **asked}
    recipes = {key: {**LATER_IN_RECIPES, **whole[key]} for key in TRAININGS if isinstance(whole.get(key), dict)}
    return {**whole, **recipes}


def _refuse_changes(path: Path, asked: dict[str, Any]) -> None:
    made_for, asked = _complete(read_asked(path)), _complete(asked)
    changed = [key for key in {**made_for, **asked} if made_for.get(key) != asked.get(key)]
    if changed:
        parts = (f"{key} was {made_for.get(key)!r}, now {asked.get(key)!r}" for key in changed)
        hint = "give another --out, or the same settings to continue this run"
        raise ConfigError(f"{path} was made with other settings: {'; '.join(parts)}", hint=hint)


@contextmanager
def _hold_lock(path: Path) -> Iterator[None]:
    """Hold the folder's lock; the system lets go of it when the process ends, however it ends."""
    with explain_storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        handle = os.open(path / LOCK, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        if sys.platform != "win32":  # which has no such lock
            _take_lock(handle, path)
        yield
    finally:
        os.close(handle)


def _take_lock(handle: int, path: Path) -> None:
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        hint = "wait for it, or give another --out"
        raise StorageError(f"another process works in the run folder {path}", hint=hint) from error
