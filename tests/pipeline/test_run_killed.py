"""A run that is killed at any moment, and continued by the same command, ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tinyrun import toml, weights_sha256, written

DEADLINE_S = 120
# Where the interesting moments are: what appears in the run folder first.
MOMENTS = (
    "run.json",
    "dense-training.safetensors",
    "dense/weights.safetensors",
    "dense.json",
    "planning.json",
    "cut/weights.safetensors",
    "cut.json",
    "training-1.safetensors",
    "round-1/network.json",
    "trained-1.json",
    "dense-test.json",
    "test-1.json",
    "shipped-1.json",
    "summary.json",
)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = written(tmp_path_factory.mktemp("sources"))
    toml(folder, data=f"{folder}/data.py:slow", epochs=3)
    return folder


@pytest.fixture(scope="module")
def undisturbed(sources: Path) -> Path:
    """The run that nobody kills."""
    run = sources / "undisturbed"
    assert finish(sources, run) == 0
    return run


def command(sources: Path, run: Path) -> list[str]:
    return [sys.executable, "-m", "deploy_prune", "prune", "--config", f"{sources}/run.toml", "--out", str(run)]


def started(sources: Path, run: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command(sources, run), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def finish(sources: Path, run: Path) -> int:
    with started(sources, run) as process:
        process.communicate(timeout=DEADLINE_S)
    return process.returncode


def signalled(sources: Path, run: Path, when: Callable[[], bool], number: signal.Signals) -> tuple[int, str]:
    """Exit code and stderr of a run that gets a signal as soon as `when` is true (or that was faster)."""
    with started(sources, run) as process:
        deadline = time.monotonic() + DEADLINE_S
        while not when() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(number)
        _, errors = process.communicate(timeout=DEADLINE_S)
    return process.returncode, errors


def same_result(run: Path, other: Path) -> None:
    """Plan, final weights and test accuracy, to the bit."""
    assert (run / "plan.json").read_bytes() == (other / "plan.json").read_bytes()
    assert weights_sha256(run) == weights_sha256(other)
    first, second = (json.loads((path / "test-1.json").read_text())["value"] for path in (run, other))
    assert first == second


@pytest.mark.heavy
def test_a_kill_in_the_middle_of_training_changes_nothing(sources: Path, undisturbed: Path, tmp_path: Path) -> None:
    """Also: the lock dies with its process, and what is done is not done again."""
    run = tmp_path / "run"
    states: set[int] = set()

    def an_epoch_is_done() -> bool:
        """The state is written before the first epoch, and after each."""
        state = run / "training-1.safetensors"
        states.update({state.stat().st_mtime_ns} if state.exists() else ())
        return len(states) == 2

    code, _ = signalled(sources, run, an_epoch_is_done, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (run / "trained-1.json").exists()
    dense = (run / "dense.json").stat().st_mtime_ns
    assert finish(sources, run) == 0
    assert (run / "dense.json").stat().st_mtime_ns == dense
    same_result(run, undisturbed)


@pytest.mark.heavy
@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_quietly_and_the_same_command_continues(
    sources: Path, undisturbed: Path, tmp_path: Path, number: signal.Signals, exit_code: int
) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("this shell's background ignores SIGINT, and so would the process")
    run = tmp_path / "run"
    code, errors = signalled(sources, run, (run / "dense-training.safetensors").exists, number)
    assert code == exit_code
    assert "the same command continues where it stopped" in errors
    assert "Traceback" not in errors
    assert finish(sources, run) == 0
    same_result(run, undisturbed)


@pytest.mark.heavy
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_at_any_moment_changes_nothing(sources: Path, undisturbed: Path, tmp_path: Path, moment: str) -> None:
    run = tmp_path / "run"
    signalled(sources, run, (run / moment).exists, signal.SIGKILL)
    assert finish(sources, run) == 0
    same_result(run, undisturbed)


@pytest.mark.slow
def test_many_kills_of_one_run_change_nothing(sources: Path, undisturbed: Path, tmp_path: Path) -> None:
    """Killed after ever longer times, until it is done before it is killed."""
    run, code, patience_s = tmp_path / "run", -signal.SIGKILL, 0.5
    while code == -signal.SIGKILL and patience_s < 60:
        until = time.monotonic() + patience_s
        code, errors = signalled(sources, run, lambda until=until: time.monotonic() > until, signal.SIGKILL)
        assert "Traceback" not in errors, errors
        patience_s += 0.3
    assert finish(sources, run) == 0
    same_result(run, undisturbed)
