"""A file of measurements is ours or is refused, and two processes may write it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from deploy_prune.analysis.gating.history import PastRun, Series, draw_history, find_usual, open_history, read_history
from deploy_prune.errors import RecordError, StorageError

SERIES = Series("net.onnx", "device", "onnxruntime", "1", 1, "fp32", "ms")


def run_of(value: float) -> PastRun:
    return PastRun("2026-01-01T00:00:00+00:00", "ab", value, 0.9 * value, 1.1 * value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="there are no measurements"), open_history(tmp_path / "none.sqlite"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    text, database = tmp_path / "text.sqlite", tmp_path / "other.sqlite"
    text.write_text("not a database at all, and long enough to be looked at as one " * 20)
    with sqlite3.connect(database) as other:
        other.execute("CREATE TABLE runs (x)")
    for path in (text, database):
        before = path.read_bytes()
        with pytest.raises(RecordError), open_history(path, make=True):
            pass
        assert path.read_bytes() == before


def test_a_database_that_acts_by_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with open_history(path, make=True):
        pass
    with sqlite3.connect(path) as other:
        other.execute("CREATE TRIGGER act AFTER INSERT ON runs BEGIN DELETE FROM runs; END")
    with pytest.raises(RecordError, match="database of something else"), open_history(path):
        pass


def test_who_only_reads_needs_no_right_to_write(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with open_history(path, make=True) as history:
        history.add(SERIES, run_of(1.0))
    with sqlite3.connect(path) as other:  # a writer does not keep readers out, either
        other.execute("BEGIN IMMEDIATE")
        assert read_history(path) == {SERIES: (run_of(1.0),)}


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError), open_history(tmp_path / "file" / "runs.sqlite", make=True):
        pass


def test_two_processes_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    code = (
        "import sys; from pathlib import Path; from deploy_prune.analysis.gating import history as h\n"
        "with h.open_history(Path(sys.argv[1]), make=True) as opened:\n"
        "    for _ in range(50): opened.add(h.Series('a', 'b', 'c', 'd', 1, 'e', 'f'), h.PastRun('', '', 1, 1, 1))\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(2)]
    assert [each.wait(60) for each in running] == [0, 0]
    with open_history(path) as history:
        (series,) = history.list_series()
        assert len(history.list_runs(series)) == 100


def test_what_is_usual_is_all_but_the_last() -> None:
    assert find_usual([run_of(1.0), run_of(4.0), run_of(100.0)]) == pytest.approx(2.0)
    assert find_usual([run_of(3.0)]) == pytest.approx(3.0)


def test_a_trend_is_drawn(tmp_path: Path) -> None:
    draw_history({SERIES: [run_of(1.0), run_of(1.2)]}, tmp_path / "trend.png")
    assert (tmp_path / "trend.png").read_bytes().startswith(b"\x89PNG")
