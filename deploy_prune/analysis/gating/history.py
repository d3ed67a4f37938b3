"""Measurements of files over time, in an SQLite file that several processes may write: what a gate looks back at."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from deploy_prune.analysis.gating.limits import find_interval
from deploy_prune.analysis.gating.session import Session
from deploy_prune.analysis.plots import Line, Plot, save
from deploy_prune.errors import RecordError, StorageError
from deploy_prune.stats import geometric_mean
from deploy_prune.timing.bench import Setting
from deploy_prune.values import Artifact

WAIT_S = 30.0
"""The wait for another process that writes at the same moment, in seconds."""
APPLICATION = 0x64_70_67_68
"""What SQLite's `application_id` says of a file of ours."""
SCHEMA = """CREATE TABLE runs (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, device TEXT NOT NULL, runtime TEXT NOT NULL,
    runtime_version TEXT NOT NULL, threads INTEGER NOT NULL, precision TEXT NOT NULL, unit TEXT NOT NULL,
    taken TEXT NOT NULL, sha256 TEXT NOT NULL, value REAL NOT NULL, low REAL NOT NULL, high REAL NOT NULL)"""


@dataclass(frozen=True)
class Series:
    """What has to be the same before figures are compared."""

    name: str
    """The file's name, which stays while its content changes."""
    device: str
    """The fingerprint of the device."""
    runtime: str
    runtime_version: str
    threads: int
    precision: str
    unit: str
    """What is counted, such as "ms"."""


@dataclass(frozen=True)
class PastRun:
    """One measurement of a file."""

    taken: str
    """When: the date and time in UTC."""
    sha256: str
    """The file's content."""
    value: float
    """The geometric mean of its times over sittings, in the series' unit."""
    low: float
    """The 95 % interval of that: its lower end..."""
    high: float
    """... and its upper one."""


def describe_run(candidate: Artifact, setting: Setting, session: Session) -> tuple[Series, PastRun]:
    """What a session has measured of its candidate."""
    times = [each.candidate for each in session.sittings]
    low, high = find_interval(times)
    series = Series(Path(candidate.path).name, setting.device.fingerprint, candidate.runtime, session.runtime_version,
                    setting.threads, candidate.precision, session.unit)  # fmt: skip
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return series, PastRun(now, candidate.sha256, geometric_mean(times), low, high)


def find_usual(runs: Sequence[PastRun]) -> float:
    """Find the geometric mean of all runs but the last; of a single run its own value."""
    earlier = runs[:-1] or runs
    return geometric_mean([run.value for run in earlier])


def draw_history(found: Mapping[Series, Sequence[PastRun]], file: Path) -> None:
    """Draw a line per series over its runs, with intervals; every series as times its first run.

    Raises:
        ConfigError: the file's ending is neither .png nor .html.
        MissingDependency: what draws it is not installed.
    """
    lines = tuple(
        Line(f"{series.name}, {series.runtime} {series.runtime_version}, {series.threads} threads",
             tuple(range(1, len(runs) + 1)), tuple(run.value / runs[0].value for run in runs),
             y_spread=tuple((run.low / runs[0].value, run.high / runs[0].value) for run in runs))
        for series, runs in found.items()
    )  # fmt: skip
    save(Plot("Measurements over time", "run", "time / first run", lines), file)


class History:
    """An open file of measurements. Not a value: it is a connection."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path

    def list_series(self) -> tuple[Series, ...]:
        """All there are, in the order in which they began."""
        names = ", ".join(field.name for field in fields(Series))
        with _explain_errors(self.path):
            rows = self._connection.execute(f"SELECT {names} FROM runs GROUP BY {names} ORDER BY min(id)").fetchall()  # noqa: S608
        return tuple(Series(*row) for row in rows)

    def list_runs(self, series: Series) -> tuple[PastRun, ...]:
        """The runs of a series, in the order in which they were taken."""
        names, values = ", ".join(field.name for field in fields(PastRun)), astuple(series)
        where = " AND ".join(f"{field.name} = ?" for field in fields(Series))
        with _explain_errors(self.path):
            rows = self._connection.execute(f"SELECT {names} FROM runs WHERE {where} ORDER BY id", values).fetchall()  # noqa: S608
        return tuple(PastRun(*row) for row in rows)

    def add(self, series: Series, run: PastRun) -> None:
        """Keep one more run."""
        names = ", ".join(field.name for kind in (Series, PastRun) for field in fields(kind))
        values = (*astuple(series), *astuple(run))
        marks = ", ".join("?" * len(values))
        with _explain_errors(self.path), self._connection:
            self._connection.execute(f"INSERT INTO runs ({names}) VALUES ({marks})", values)  # noqa: S608


def read_history(path: Path) -> dict[Series, tuple[PastRun, ...]]:
    """Read every series of a file of measurements, in the order in which they began.

    Raises:
        RecordError: there is none, or it is something else.
        StorageError: the file system refused.
    """
    with open_history(path) as opened:
        return {series: opened.list_runs(series) for series in opened.list_series()}


@contextmanager
def open_history(path: Path, *, make: bool = False) -> Iterator[History]:
    """Open a file of measurements.

    Args:
        path: where it is.
        make: whether it is made where there is none.

    Raises:
        RecordError: there is none, or it is something else.
        StorageError: the file system refused.
    """
    if not make and not path.is_file():
        raise RecordError(
            f"there are no measurements in {path}", hint="`deploy-prune gate --update-baseline` adds them"
        )
    with _explain_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=WAIT_S)
    with closing(connection):
        with _explain_errors(path):
            _prepare(connection, path, make=make)
        yield History(connection, path)


def _prepare(connection: sqlite3.Connection, path: Path, *, make: bool) -> None:
    """Make the table in a new file; refuse a file of somebody else before anything in it can act."""
    connection.execute("PRAGMA trusted_schema = OFF")
    with connection:
        connection.execute("BEGIN IMMEDIATE" if make else "BEGIN")  # who only reads may have no right to write
        made = connection.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if make and not made and application == 0:
            connection.execute(SCHEMA)
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
        elif made != [("table", "runs")] or application != APPLICATION:
            message = f"{path} is a database of something else"
            raise RecordError(message, hint="name a file that `deploy-prune gate --update-baseline` has made")


@contextmanager
def _explain_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StorageError(f"cannot use {path}: {error}", hint="check the path and its permissions") from error
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        hint = "restore a copy, or name another file"
        raise RecordError(f"{path} is no file of measurements: {error}", hint=hint) from error
    except OSError as error:
        raise StorageError(f"cannot use {path}: {error.strerror}", hint="check the path") from error
