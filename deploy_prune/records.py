"""What reaches disk: JSON with a schema number, written atomically and validated when it is read back."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from deploy_prune import schema_1
from deploy_prune.bounded import parse_json, read_text
from deploy_prune.errors import RecordError, StorageError
from deploy_prune.scratch import hold_new_folder, remove_abandoned

SCHEMA = 2
READABLE = (1, SCHEMA)
FORMER_KINDS = {"SearchRecord": "Search"}
"""The class of a record -> what it was called in schema 1."""

Value = TypeVar("Value")

DONE_AGAIN = "remove it, and its stage is done again"
"""What to do about a damaged record of a stage."""
_TOLD = 3
"""How many places of a record that do not fit are named."""

REFUSED = {errno.ENOSPC: "the disk is full", errno.EROFS: "the file system is read-only"}
REFUSED |= {errno.EACCES: "permission denied", errno.EPERM: "permission denied", errno.EDQUOT: "over quota"}
REFUSED |= {errno.EFBIG: "the file is larger than allowed here"}
"""The refusals of a file system that only its owner can change, in words."""

UNFINISHED = ".writing-"
"""What the name of a file begins with that is being written; it stays where the process was killed meanwhile."""


@contextmanager
def explain_storage_errors(path: Path) -> Iterator[None]:
    """Turn a refusal of the file system into `StorageError`, naming the path."""
    try:
        yield
    except (FileExistsError, FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise StorageError(f"{path}: {error.strerror}", hint="choose another output path") from error
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        hint = "free space or choose another output folder"
        raise StorageError(f"cannot write {path}: {REFUSED[error.errno]}", hint=hint) from error


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file or a folder beside `path`, then move it into place: readers see all or nothing.

    A folder cannot be moved over another, so that an old one goes first: killed just then, a process leaves neither.

    Raises:
        StorageError: the disk is full, read-only or not ours.
    """
    with explain_storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with hold_new_folder(path.parent, f"{UNFINISHED}{path.stem}-") as workplace:
            temporary = workplace / path.name
            write(temporary)
            for file in _list_files(temporary):
                file.chmod(0o644)
                with file.open("rb") as content:
                    os.fsync(content.fileno())
            if temporary.is_dir() and path.is_dir():
                path.replace(workplace / "old")
            temporary.replace(path)


def remove_unfinished(folder: Path, pattern: str = f"**/{UNFINISHED}*") -> None:
    """Sweep away what killed processes were writing in a folder, where nobody writes it any more.

    Args:
        folder: it may hold what other processes are writing now, which stays.
        pattern: of what is looked at, below the folder; all in all its folders, where none is given.

    Raises:
        StorageError: it cannot be removed.
    """
    for left in list(folder.glob(pattern)):
        with explain_storage_errors(left), suppress(FileNotFoundError):
            remove_abandoned(left)


def to_json(value: Any, kind: Any = None) -> Any:
    """Turn a value of `values` (or of any type that pydantic knows) into plain JSON types."""
    return TypeAdapter(kind or type(value)).dump_python(value, mode="json")


def write_record(path: Path, value: Any, kind: Any = None) -> None:
    """Write one value as `{"schema": ..., "kind": ..., "value": ...}`."""
    document = {"schema": SCHEMA, "kind": _name_kind(kind or type(value)), "value": to_json(value, kind)}
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    write_atomic(path, lambda temporary: temporary.write_text(text))


def read_record(path: Path, kind: type[Value], *, remedy: str = DONE_AGAIN) -> Value:
    """Read the value that `write_record` wrote.

    Args:
        path: of the record.
        kind: the value's type.
        remedy: what to do where it is damaged, as a hint says it.

    Raises:
        RecordError: the file is missing or truncated, of another schema, or a record of another kind.
    """
    try:
        document = parse_json(read_text(path))
    except FileNotFoundError as error:
        raise RecordError(f"{path} does not exist", hint="is this a run folder?") from error
    except (ValueError, OSError) as error:
        raise RecordError(f"{path} is damaged: {error}", hint=remedy) from error
    _check_header(document, path, _name_kind(kind))
    try:
        value = document["value"]
        return TypeAdapter(kind).validate_python(schema_1.upgrade(value) if document["schema"] == 1 else value)
    except ValidationError as error:
        raise _tell_misfit(path, kind, explain_misfit(error), remedy) from error
    except (KeyError, TypeError, ValueError) as error:  # of a value's own rules, and of records of before
        raise _tell_misfit(path, kind, f"{type(error).__name__}: {error}", remedy) from error


def explain_misfit(error: ValidationError) -> str:
    """The first places where a value does not fit, in one line: a record may have a million of them."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[:_TOLD]
    told = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'it'}: {each['msg']}" for each in first)
    more = error.error_count() - len(first)
    return f"{told}; and {more} more" if more else told


def _tell_misfit(path: Path, kind: Any, reason: str, remedy: str) -> RecordError:
    hint = f"is it edited, or of another version? {remedy[0].upper()}{remedy[1:]}"
    return RecordError(f"{path} does not hold a {_name_kind(kind)}: {reason}", hint=hint)


def _name_kind(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))


def _check_header(document: Any, path: Path, name: str) -> None:
    """Refuse a document of a schema that nobody here reads, or one that holds another kind of record."""
    header = document if isinstance(document, dict) else {}
    if header.get("schema") not in READABLE:
        hint = "use the version of deploy-prune that wrote it, or run again"
        message = f"{path} has schema {header.get('schema')}, this version reads {READABLE[0]} to {SCHEMA}"
        raise RecordError(message, hint=hint)
    kind = header.get("kind")
    if kind not in (name, FORMER_KINDS.get(name, name)):  # not a set: a damaged one may be a list
        raise RecordError(f"{path} holds a {kind}, not a {name}", hint="is this the file that you meant?")


def sha256(path: Path) -> str:
    """Digest a file; a folder's digest is over its files' names and contents, in the order of their names."""
    digest = hashlib.sha256()
    for file in _list_files(path):
        if file != path:
            digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as content:
            while block := content.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def count_bytes(path: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in _list_files(path))


def _list_files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
