"""Where profiles are kept: an SQLite file in the user's cache folder, for several processes, safe under kill -9."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Hashable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from deploy_prune.bounded import parse_json
from deploy_prune.budget.latency.store_schema import prepare
from deploy_prune.budget.latency.table import Profile, Sample
from deploy_prune.errors import NotProfiled, RecordError, StorageError
from deploy_prune.records import explain_misfit, explain_storage_errors
from deploy_prune.values import Target

FILE = "latency.sqlite"
WAIT_S = 30.0
"""The wait for another process that writes at the same moment, in seconds."""
FIND = """SELECT id FROM profiles WHERE network = ? AND device = ? AND runtime = ? AND runtime_version = ?
    AND threads = ? AND precision = ?"""
FORGET = """DELETE FROM profiles WHERE network = ? AND device = ? AND runtime = ? AND runtime_version = ?
    AND threads = ? AND precision = ?"""
REFUSED = ("readonly", "full", "unable to open", "locked", "disk i/o")
"""What SQLite says when the file system or another process is in the way, and not the file's content."""


def usual_path() -> Path:
    """In the platform's cache folder."""
    from platformdirs import user_cache_path

    return user_cache_path("deploy-prune", appauthor=False) / FILE


class Store:
    """An open store. Not a value: it is a connection."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path

    def profiles(self) -> tuple[Profile, ...]:
        """All there are, without their samples."""
        rows = self._rows("SELECT * FROM profiles ORDER BY id")
        return tuple(self._profile(row) for row in rows)

    def find(self, network: str, target: Target) -> Profile | None:
        """The profile of a network on a target, with its samples (without their raw times).

        Of the runtime's version that the target names, else the last of any version: see `Profile.target`.
        """
        place = (network, target.device, target.runtime, target.threads, target.precision)
        rows = self._rows(
            "SELECT * FROM profiles WHERE network = ? AND device = ? AND runtime = ? AND threads = ? AND precision = ? "
            "ORDER BY runtime_version = ? DESC, id DESC LIMIT 1",
            (*place, target.runtime_version),
        )
        return self._whole(rows[0], raw=False) if rows else None

    def whole(self, profile: Profile) -> Profile:
        """A profile with all samples and their raw times."""
        (row,) = self._rows("SELECT * FROM profiles WHERE id = ?", (self._id(profile),))
        return self._whole(row, raw=True)

    def begin(self, profile: Profile) -> None:
        """Make room for a profile; one that is there already stays as it is."""
        target = profile.target
        values = (
            profile.network,
            profile.address,
            target.device,
            target.runtime,
            target.runtime_version,
            target.threads,
            target.precision,
            profile.reference,
            profile.unit,
            _json(profile.drawing),
            profile.complete,
        )
        with self._writing():
            self._connection.execute(
                "INSERT OR IGNORE INTO profiles (network, address, device, runtime, runtime_version, threads, "
                "precision, reference, unit, drawing, complete) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )

    def add(self, profile: Profile, *samples: Sample) -> None:
        """Keep samples of a profile that was begun; one of the same widths is replaced."""
        number = self._id(profile)
        rows = [
            (number, each.operator, json.dumps(each.widths), json.dumps(each.input_shape), each.ratio, *each.interval,
             None if each.comparison is None else _json(each.comparison))
            for each in samples
        ]  # fmt: skip
        with self._writing():
            self._connection.executemany(
                "INSERT OR REPLACE INTO samples (profile, operator, widths, input_shape, ratio, low, high, raw) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

    def complete(self, profile: Profile) -> None:
        """Sampling has come to its end."""
        with self._writing():
            self._connection.execute("UPDATE profiles SET complete = 1 WHERE id = ?", (self._id(profile),))

    def forget(self, profile: Profile) -> None:
        """Remove a profile and its samples, if it is there."""
        with self._writing():
            self._connection.execute(FORGET, _key(profile))

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is written in the block is kept as a whole, or not at all."""
        with _explain_errors(self.path), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            yield

    def _id(self, profile: Profile) -> int:
        rows = self._rows(FIND, _key(profile))
        if not rows:
            raise RecordError(f"{self.path} has no latency table of {profile.address}", hint="profile it first")
        return int(rows[0]["id"])

    def _whole(self, row: sqlite3.Row, *, raw: bool) -> Profile:
        rows = self._rows(
            "SELECT operator, widths, input_shape, ratio, low, high, CASE WHEN ? THEN raw END AS raw FROM samples "
            "WHERE profile = ? ORDER BY id",
            (raw, row["id"]),
        )
        return replace(self._profile(row), samples=tuple(map(self._sample, rows)))

    def _profile(self, row: sqlite3.Row) -> Profile:
        known = {name: row[name] for name in ("network", "address", "reference", "unit", "complete")}
        target = {name: row[name] for name in ("device", "runtime", "runtime_version", "threads", "precision")}
        profile: Profile = self._valid(
            Profile, lambda: known | {"target": target, "drawing": parse_json(row["drawing"])}
        )
        return profile

    def _sample(self, row: sqlite3.Row) -> Sample:
        known = {"ratio": row["ratio"], "interval": (row["low"], row["high"]), "operator": row["operator"]}
        texts = {"widths": row["widths"], "input_shape": row["input_shape"], "comparison": row["raw"] or "null"}
        sample: Sample = self._valid(Sample, lambda: known | {name: parse_json(text) for name, text in texts.items()})
        return sample

    def _valid(self, kind: Any, read: Callable[[], Any]) -> Any:
        try:
            return _adapter(kind).validate_python(read())
        except (TypeError, ValueError) as error:
            reason = explain_misfit(error) if isinstance(error, ValidationError) else str(error).splitlines()[0]
            raise _damaged(self.path, reason) from error

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        with _explain_errors(self.path):
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """All or nothing, on disk when it ends."""
        if self._connection.in_transaction:  # of what is kept together
            yield
            return
        with _explain_errors(self.path), self._connection:
            yield


def _key(profile: Profile) -> tuple[Any, ...]:
    target = profile.target
    return (profile.network, target.device, target.runtime, target.runtime_version, target.threads, target.precision)


@contextmanager
def open_store(path: Path | None = None, *, make: bool = True) -> Iterator[Store]:
    """The store, made if it is missing; None: the usual one.

    Raises:
        NotProfiled: it is missing, and not to be made.
        RecordError: no store, a damaged one, or one of another version.
        StorageError: the file system refuses.
    """
    path = path or usual_path()
    if not make and not path.exists():
        raise NotProfiled(f"there is no latency store at {path} yet", hint="measure: deploy-prune profile MODEL")
    if make:
        with explain_storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
    with (
        _explain_errors(path),
        closing(sqlite3.connect(path, timeout=WAIT_S, isolation_level="IMMEDIATE")) as connection,
    ):
        connection.row_factory = sqlite3.Row
        prepare(connection, path, make=make)
        yield Store(connection, path)


@contextmanager
def _explain_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        if any(word in str(error).lower() for word in REFUSED):
            hint = "free space, close the other process, or give another --store"
            raise StorageError(f"cannot use the latency store {path}: {error}", hint=hint) from error
        raise _damaged(path, str(error)) from error
    except UnicodeDecodeError as error:  # of a name in SQLite's own message
        raise _damaged(path, "a name in it is not UTF-8") from error


def _damaged(path: Path, reason: str) -> RecordError:
    hint = "move it away (what it holds is lost), or give another --store"
    return RecordError(f"the latency store {path} is damaged: {reason}", hint=hint)


def _json(value: Any) -> str:
    return _adapter(value.__class__).dump_json(value).decode()


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
