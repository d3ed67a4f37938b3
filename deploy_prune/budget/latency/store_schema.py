"""The tables of a latency store, and how a store of an earlier schema becomes one of today's where it lies."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from deploy_prune import schema_1
from deploy_prune.bounded import parse_json
from deploy_prune.errors import RecordError
from deploy_prune.timing import conditions

SCHEMA = 2
TABLES = (
    """CREATE TABLE profiles (
    id INTEGER PRIMARY KEY, network TEXT NOT NULL, address TEXT NOT NULL, device TEXT NOT NULL, runtime TEXT NOT NULL,
    runtime_version TEXT NOT NULL, threads INTEGER NOT NULL, precision TEXT NOT NULL, reference REAL NOT NULL,
    unit TEXT NOT NULL, drawing TEXT NOT NULL, complete INTEGER NOT NULL DEFAULT 0,
    UNIQUE (network, device, runtime, runtime_version, threads, precision))""",
    """CREATE TABLE samples (
    id INTEGER PRIMARY KEY, profile INTEGER NOT NULL REFERENCES profiles ON DELETE CASCADE, operator INTEGER NOT NULL,
    widths TEXT NOT NULL, input_shape TEXT NOT NULL, ratio REAL NOT NULL, low REAL NOT NULL, high REAL NOT NULL,
    raw TEXT, UNIQUE (profile, operator, widths, input_shape))""",
    f"PRAGMA user_version = {SCHEMA}",
)
FROM_SCHEMA_1 = (
    "ALTER TABLE profiles RENAME COLUMN reference_ms TO reference",
    "ALTER TABLE profiles ADD COLUMN unit TEXT NOT NULL DEFAULT 'ms'",
    "UPDATE samples SET raw = upgraded(raw) WHERE raw IS NOT NULL",
    "UPDATE OR IGNORE profiles SET device = this_machine() WHERE device = name_before_systems()",
    f"PRAGMA user_version = {SCHEMA}",
)
"""In schema 1 the unit was in names, and a device was a processor and an architecture without its system."""
NAMES = {"profiles", "samples"}


def prepare(connection: sqlite3.Connection, path: Path, *, make: bool) -> None:
    """Make the tables where the file is new, and bring those of schema 1 up to date; all of that or nothing.

    Nothing is changed in a file of somebody else.

    Args:
        connection: to the file; nothing was asked of it yet.
        path: where the file is, for messages.
        make: whether an empty file becomes a store.

    Raises:
        RecordError: the file is of a schema that nobody here reads, a database of something else, or one that does
            more than hold tables.
    """
    connection.execute("PRAGMA trusted_schema = OFF")
    if acting := sorted(map(str, _list_acting(connection))):
        message = f"the latency store {path} has what none of ours has: {', '.join(acting[:5])}"
        raise RecordError(message, hint="who made it? Triggers and views act when it is read: give another --store")
    if _version(connection) == 0 and make:
        _make(connection)
    if _version(connection) == 1 and _tables(connection) == NAMES:
        _upgrade(connection)
    if (version := _version(connection)) not in {0, 1, SCHEMA}:
        hint = "give another --store, or use the version of deploy-prune that wrote it"
        raise RecordError(f"{path} has schema {version}, this version reads 1 to {SCHEMA}", hint=hint)
    if _tables(connection) != NAMES:
        raise RecordError(f"{path} is a database of something else", hint="give another --store")
    connection.execute("PRAGMA foreign_keys = ON")


def _make(connection: sqlite3.Connection) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if _version(connection) == 0 and not _tables(connection):  # another process may have been first
            for statement in TABLES:
                connection.execute(statement)


def _upgrade(connection: sqlite3.Connection) -> None:
    connection.create_function("upgraded", 1, _upgraded, deterministic=True)
    connection.create_function("this_machine", 0, conditions.fingerprint)
    connection.create_function("name_before_systems", 0, conditions.name_before_systems)
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if _version(connection) == 1:  # another process may have been first
            for statement in FROM_SCHEMA_1:
                connection.execute(statement)


def _upgraded(raw: str) -> str:
    """A comparison as JSON, in the words of today."""
    return json.dumps(schema_1.upgrade(parse_json(raw)))


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {str(row[0]) for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _list_acting(connection: sqlite3.Connection) -> list[str]:
    """What does something by itself, such as `trigger pwn`: a store of ours has tables and their own indices alone."""
    rows = connection.execute("SELECT type, name FROM sqlite_master WHERE type != 'table' AND sql IS NOT NULL")
    return [f"{kind} {name}" for kind, name in rows]
