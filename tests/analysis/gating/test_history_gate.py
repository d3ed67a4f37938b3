"""A gate that looks back compares like with like, needs eight runs, and allows for how much runs differ."""

from __future__ import annotations

import dataclasses
import math
import random
from pathlib import Path

import pytest

from deploy_prune.analysis.artifacts import describe_artifact
from deploy_prune.analysis.gating.gate import GateResult
from deploy_prune.analysis.gating.history import History, PastRun, Series, open_history
from deploy_prune.analysis.gating.history_gate import run_gate_on_history, update_history
from deploy_prune.analysis.gating.limits import FEWEST_RUNS, Limits, predict_ratio
from deploy_prune.timing.bench import Setting
from deploy_prune.timing.fake_device import FakeDevice
from deploy_prune.values import Artifact


@pytest.fixture
def candidate(tmp_path: Path) -> Artifact:
    file = tmp_path / "net.onnx"
    file.write_bytes(b"x" * 100)
    return describe_artifact(file)


def look(candidate: Artifact, time: float, history: History, *, threads: int = 1, **limits: float) -> GateResult:
    device = FakeDevice(lambda _: time)
    setting = Setting(device, threads, 0)
    result = run_gate_on_history((candidate, None), setting, Limits(**limits), history)  # type: ignore[arg-type]
    update_history(history, candidate, setting, result)
    return result


def fill(candidate: Artifact, history: History, times: list[float]) -> None:
    for time in times:
        assert look(candidate, time, history).verdict in {"passed", "inconclusive"}


def test_seven_runs_say_nothing_and_eight_do(candidate: Artifact, tmp_path: Path) -> None:
    with open_history(tmp_path / "runs.sqlite", make=True) as history:
        for number in range(FEWEST_RUNS):
            result = look(candidate, 10.0, history)
            assert result.verdict == "inconclusive"
            assert result.why.startswith(f"{number} of the {FEWEST_RUNS} measurements")
        assert look(candidate, 10.0, history).verdict == "passed"


def test_a_slower_file_fails_in_two_sessions_and_is_not_kept(candidate: Artifact, tmp_path: Path) -> None:
    with open_history(tmp_path / "runs.sqlite", make=True) as history:
        fill(candidate, history, [10.0] * FEWEST_RUNS)
        result = look(candidate, 11.0, history)
        assert result.verdict == "failed" and len(result.sessions) == 2
        (series,) = history.list_series()
        assert [run.value for run in history.list_runs(series)] == pytest.approx([10.0] * FEWEST_RUNS)


def test_runs_that_differ_among_themselves_widen_what_is_allowed(candidate: Artifact, tmp_path: Path) -> None:
    """The interval of the mean would call 8 % too slow: eight runs know their mean to 4 %, the next one to 13 %."""
    with open_history(tmp_path / "runs.sqlite", make=True) as history:
        fill(candidate, history, [10.0 * math.exp(each) for each in (-0.05, 0.05) * 4])
        assert look(candidate, 10.8, history).verdict == "inconclusive"
        assert look(candidate, 14.0, history).verdict == "failed"


@pytest.mark.parametrize(
    "other",
    [{"device": "elsewhere"}, {"runtime_version": "0"}, {"threads": 2}, {"precision": "int8"}, {"unit": "cycles"},
     {"name": "other.onnx"}, {"runtime": "litert"}],
)  # fmt: skip
def test_only_the_same_series_counts(other: dict[str, str], candidate: Artifact, tmp_path: Path) -> None:
    with open_history(tmp_path / "runs.sqlite", make=True) as history:
        fill(candidate, history, [10.0] * FEWEST_RUNS)
        (series,) = history.list_series()
        of_others = dataclasses.replace(series, **other)
        for _ in range(FEWEST_RUNS):
            history.add(of_others, PastRun("", "", 1.0, 1.0, 1.0))
        assert set(history.list_series()) == {series, of_others}
        assert look(candidate, 10.0, history).verdict == "passed"


def test_a_budget_needs_no_history(candidate: Artifact, tmp_path: Path) -> None:
    with open_history(tmp_path / "runs.sqlite", make=True) as history:
        assert look(candidate, 10.0, history, max_ratio=None, budget=9.0).verdict == "failed"  # type: ignore[arg-type]
        assert look(candidate, 10.0, history, max_ratio=None, budget=11.0).verdict == "passed"  # type: ignore[arg-type]


def test_the_prediction_interval_holds_the_next_run_as_often_as_it_says() -> None:
    draw, trials = random.Random(0), 2000
    held = 0
    for _ in range(trials):
        *earlier, value = (math.exp(draw.gauss(0, 0.1)) for _ in range(9))
        low, high = predict_ratio(earlier, value)
        held += low <= 1 <= high
    assert held / trials == pytest.approx(0.95, abs=0.015)


def test_a_series_is_read_as_it_was_written(tmp_path: Path) -> None:
    series = Series("a'; DROP TABLE runs; --.tflite", "device", "litert", "2", 1, "fp32", "ms")
    run = PastRun("2026-01-01T00:00:00+00:00", "ab", 1.5, 1.4, 1.6)
    with open_history(tmp_path / "runs.sqlite", make=True) as history:
        history.add(series, run)
    with open_history(tmp_path / "runs.sqlite") as history:
        assert history.list_series() == (series,)
        assert history.list_runs(series) == (run,)
