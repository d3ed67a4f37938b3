"""A run folder computes a stage once, belongs to one configuration, and to one process at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy_prune.errors import ConfigError, RecordError, StorageError, WorkerDied
from deploy_prune.records import write_record
from deploy_prune.run_folder import FORM, LOCK, RUN, open_run, read_asked, task_asked_for
from deploy_prune.values import AppForm

posix = pytest.mark.skipif(sys.platform == "win32", reason="no such lock there")


def test_a_stage_is_computed_once(tmp_path: Path) -> None:
    computed: list[int] = []

    def compute() -> dict[str, int]:
        computed.append(1)
        return {"found": 7}

    for _ in range(2):
        with open_run(tmp_path / "run", {"seed": 0}) as folder:
            assert folder.stage("first", dict, compute) == {"found": 7}
    assert len(computed) == 1


def test_a_stage_that_fails_leaves_no_record(tmp_path: Path) -> None:
    def fail() -> dict[str, int]:
        raise ConfigError("no")

    with open_run(tmp_path / "run", {}) as folder, pytest.raises(ConfigError):
        folder.stage("first", dict, fail)
    assert not (tmp_path / "run" / "first.json").exists()


def test_a_stage_whose_workers_are_killed_is_done_once_more_and_never_recorded_as_it_was(tmp_path: Path) -> None:
    deaths: list[int] = []

    def compute() -> dict[str, int]:
        deaths.append(1)
        if len(deaths) <= 3:
            raise WorkerDied("a converter was killed")
        return {"tries": len(deaths)}

    with open_run(tmp_path / "run", {}) as folder, pytest.raises(WorkerDied):
        folder.stage("first", dict, compute)
    assert len(deaths) == 2
    assert not (tmp_path / "run" / "first.json").exists()
    with open_run(tmp_path / "run", {}) as folder:  # the same command again: killed once more, then done
        assert folder.stage("first", dict, compute) == {"tries": 4}


@pytest.mark.parametrize(
    ("asked", "labels", "task"),
    [
        ({"task": "none"}, ("a", "b"), "none"),
        ({"task": "auto"}, ("a", "b"), "classification"),
        ({"task": "auto"}, (), "none"),
        ({"task": "mine"}, (), "mine"),
        ({}, None, "classification"),
    ],
    ids=["named", "by labels", "by none", "of somebody", "of before"],
)
def test_a_run_remembers_its_task(
    asked: dict[str, str], labels: tuple[str, ...] | None, task: str, tmp_path: Path
) -> None:
    with open_run(tmp_path / "run", asked):
        pass
    if labels is not None:
        write_record(tmp_path / "run" / FORM, AppForm(labels=labels))
    assert task_asked_for(tmp_path / "run") == task


def test_progress_tells_what_is_done_now_and_what_was_before(tmp_path: Path) -> None:
    told: list[tuple[str, int, int, str]] = []

    def progress(task: str, done: int, total: int, note: str = "") -> None:
        told.append((task, done, total, note))

    for _ in range(2):
        with open_run(tmp_path / "run", {}, progress=progress) as folder:
            folder.stage("first", dict, dict)
    assert told == [("first", 0, 1, ""), ("first", 1, 1, ""), ("first", 1, 1, "done before")]


def test_other_settings_are_refused_once_something_is_there(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with open_run(run, {"seed": 0, "budget": "0.5x"}):
        pass
    with open_run(run, {"seed": 1, "budget": "0.5x"}) as folder:  # nothing is done yet
        folder.stage("first", dict, dict)
    with pytest.raises(ConfigError, match="other settings") as caught, open_run(run, {"seed": 2}):
        pass
    assert "seed was 1, now 2; budget was '0.5x', now None" in caught.value.message
    assert read_asked(run) == {"seed": 1, "budget": "0.5x"}


def test_a_run_that_is_refused_leaves_what_was_there_before(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for run in (tmp_path / "a" / "b", tmp_path / "there"):
        with pytest.raises(ConfigError), open_run(run, {}):
            raise ConfigError("refused")
    assert [each.name for each in tmp_path.iterdir()] == ["there"]
    assert not list((tmp_path / "there").iterdir())


def test_a_run_that_fails_after_something_was_begun_keeps_it(tmp_path: Path) -> None:
    def fail() -> dict[str, int]:
        raise ConfigError("later")

    with pytest.raises(ConfigError), open_run(tmp_path / "run", {}) as folder:
        folder.stage("second", dict, fail if folder.stage("first", dict, lambda: {"done": 1}) else dict)
    assert (tmp_path / "run" / "first.json").exists()
    assert read_asked(tmp_path / "run") == {}


def test_what_an_interrupted_first_write_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".writing-run-x1y2.json").write_text("{")
    with open_run(tmp_path, {"seed": 0}):
        assert read_asked(tmp_path) == {"seed": 0}


def test_what_a_killed_process_was_writing_is_swept_away(tmp_path: Path) -> None:
    for _ in range(2):
        with open_run(tmp_path / "run", {}) as folder:
            folder.stage("first", dict, dict)
            assert not list((tmp_path / "run").rglob(".writing-*"))
            (tmp_path / "run" / "dense" / ".writing-weights-x1y2").mkdir(parents=True)


def test_a_folder_of_something_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").touch()
    with pytest.raises(ConfigError, match="no run folder"), open_run(tmp_path, {}):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_folder_without_a_configuration_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="is no run folder"):
        read_asked(tmp_path)


@posix
def test_the_second_of_two_is_refused_and_says_why(tmp_path: Path) -> None:
    with (
        open_run(tmp_path / "run", {}),
        pytest.raises(StorageError, match="another process works in"),
        open_run(tmp_path / "run", {}),
    ):
        pass
    with open_run(tmp_path / "run", {}):
        assert (tmp_path / "run" / RUN).exists()


@posix
def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = (
        "import time; from pathlib import Path; from deploy_prune.run_folder import open_run\n"
        f"with open_run(Path({str(tmp_path / 'run')!r}), {{}}): print('in', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "in\n"
        with pytest.raises(StorageError), open_run(tmp_path / "run", {}):
            pass
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
    with open_run(tmp_path / "run", {}):
        pass
    assert (tmp_path / "run" / LOCK).exists()


def test_a_finished_run_can_be_read_where_nothing_can_be_written(tmp_path: Path) -> None:
    """The lock is opened for reading, and no record is written again."""
    with open_run(tmp_path / "run", {}) as folder:
        folder.stage("first", dict, dict)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}
    with open_run(tmp_path / "run", {}) as folder:
        folder.stage("first", dict, dict)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()} == before


@pytest.mark.parametrize(("key", "value"), [("data", 3), ("data_options", "x"), ("model", None), ("task", ["none"])])
def test_a_record_of_what_was_asked_for_whose_keys_are_of_another_kind(tmp_path: Path, key: str, value: object) -> None:
    write_record(tmp_path / RUN, {"model": "net", "data": "digits", key: value}, dict)
    with pytest.raises(RecordError, match=f"is damaged: its {key} is a"):
        read_asked(tmp_path)


@pytest.mark.parametrize("text", ['{"schema": 2, "kin', '{"schema": 2, "kind": "dict", "value": 3}'])
def test_a_damaged_configuration_is_no_stage_that_could_be_done_again(tmp_path: Path, text: str) -> None:
    """A folder without it is no run folder any more, so that its removal would help nobody."""
    with open_run(tmp_path, {"model": "net"}) as folder:
        folder.stage("first", dict, dict)
    (tmp_path / RUN).write_text(text)
    with pytest.raises(RecordError) as caught, open_run(tmp_path, {"model": "net"}):
        pass
    assert RUN in caught.value.message and "remove" not in caught.value.hint.lower()
    assert "ut a copy of it back, or use the command that began the run with another --out" in caught.value.hint
