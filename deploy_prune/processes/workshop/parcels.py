"""What goes from one of our processes to another: pickles that are complete, in a folder of ours."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from deploy_prune.user_files import USER_MODULE

NO_MEMORY = 12
"""What the process of an item ends with in which memory ran out: ENOMEM."""

GIVEN_UP = 124
"""What the process of an item that took too long ends with, as with the command `timeout`."""


class Unsendable(Exception):
    """Work that cannot be handed to another process; says what of it."""


def send(folder: Path, shared: Any, items: Sequence[Any]) -> None:
    """Leave `shared` and every item in the folder.

    Raises:
        Unsendable: one of them cannot be pickled.
    """
    with _tell_unsendable():
        dump(folder / "shared", shared)
        for number, item in enumerate(items):
            dump(folder / f"{number}.item", item)


def dump(path: Path, value: Any) -> None:
    """Write a pickle, complete or not at all, as a process may die at any moment."""
    import cloudpickle

    unfinished = path.with_suffix(f"{path.suffix}.part")
    with unfinished.open("wb") as file:
        cloudpickle.dump(value, file, protocol=pickle.HIGHEST_PROTOCOL)
    unfinished.replace(path)


def pack(value: Any) -> bytes:
    """A pickle that carries along what a new process could not import.

    Raises:
        Unsendable: it cannot be pickled.
    """
    import cloudpickle

    with _tell_unsendable():
        content: bytes = cloudpickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    return content


@contextmanager
def _tell_unsendable() -> Iterator[None]:
    """Have what is pickled in the block carry along what a new process could not import. Raises Unsendable."""
    try:
        with _register_by_value(_find_unimportable()):
            yield
    # whatever a class's own pickling raises
    except (TypeError, AttributeError, RuntimeError, pickle.PicklingError) as error:
        raise Unsendable(f"{type(error).__name__}: {error}") from error


def unpack(content: bytes) -> Any:
    """What `pack` of our own process made."""
    return pickle.loads(content)  # noqa: S301 - our own process wrote it


def load(path: Path) -> Any:
    """What `dump` of this or the other process wrote, in a folder that only we can write to."""
    with path.open("rb") as file:
        return pickle.load(file)  # noqa: S301 - our own process wrote it


def _find_unimportable() -> list[ModuleType]:
    """Modules that a new process would not find by name: those of files that were loaded by their path."""
    known = {str(Path(entry or ".").resolve()) for entry in sys.path}
    unimportable = []
    for name, module in list(sys.modules.items()):
        if name.startswith(USER_MODULE):
            unimportable.append(module)
            continue
        file = getattr(module, "__file__", None)
        if file is None or "." in name or name == "__main__":
            continue
        folder = Path(file).resolve().parent
        if {str(folder), str(folder.parent)} & known or any(_can_find(finder, name) for finder in sys.meta_path):
            continue
        unimportable.append(module)
    return unimportable


def _can_find(finder: Any, name: str) -> bool:
    find = getattr(finder, "find_spec", None)
    return find is not None and find(name, None) is not None


@contextmanager
def _register_by_value(modules: Sequence[ModuleType]) -> Iterator[None]:
    """Have what these modules define pickled by value while the block runs."""
    import cloudpickle

    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)
