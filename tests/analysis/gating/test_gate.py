"""Verdicts: red takes two sessions that agree, and noise is no failure."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy_prune.analysis.artifacts import describe_artifact
from deploy_prune.analysis.gating.gate import GateResult, run_gate
from deploy_prune.analysis.gating.limits import FEWEST, Limits
from deploy_prune.timing.bench import Setting
from deploy_prune.timing.devices import Job
from deploy_prune.timing.fake_device import FakeDevice
from deploy_prune.values import Artifact

Pair = tuple[Artifact, Artifact]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Files of which nothing but the name counts."""
    paths = [tmp_path / "baseline.onnx", tmp_path / "candidate.onnx"]
    for path in paths:
        path.write_bytes(b"x" * 100)
    return describe_artifact(paths[0]), describe_artifact(paths[1])


def slower_by(share: float) -> Callable[[Path], float]:
    return lambda path: 10.0 * (1 + share * (path.stem == "candidate"))


def gate(pair: Pair, device: FakeDevice, limits: Limits | None = None, **rest: float) -> GateResult:
    return run_gate(pair, Setting(device, 1, 0), limits or Limits(), **rest)


def test_the_same_time_passes_in_one_session(pair: Pair) -> None:
    result = gate(pair, FakeDevice(slower_by(0.0)))
    assert result.verdict == "passed"
    assert [len(each.sittings) for each in result.sessions] == [FEWEST]


@pytest.mark.parametrize("share", [0.06, 0.1, 1.0])
def test_slower_than_the_limit_fails_in_two_sessions(pair: Pair, share: float) -> None:
    result = gate(pair, FakeDevice(slower_by(share)))
    assert result.verdict == "failed" and len(result.sessions) == 2
    assert f"time / baseline {1 + share:.4g}" in result.why


@dataclasses.dataclass(frozen=True)
class Counting(FakeDevice):
    """Knows which processes were started."""

    started: list[Job] = dataclasses.field(default_factory=list)

    def start(self, job: Job):  # type: ignore[no-untyped-def]
        self.started.append(job)
        return super().start(job)


def test_a_second_session_that_does_not_agree_is_no_failure(pair: Pair) -> None:
    """Such as where a neighbour took something for as long as the first one lasted."""
    jobs: list[Job] = []
    first = 2 * FEWEST
    device = Counting(lambda path: 10.0 * (1.2 if path.stem == "candidate" and len(jobs) <= first else 1), started=jobs)
    result = gate(pair, device)
    assert result.verdict == "inconclusive" and len(jobs) == 2 * first
    assert result.why.startswith("the first session was above a limit, the second was not")


def test_every_sitting_has_processes_of_its_own_and_whoever_is_started_second_pays_for_it_in_turns(pair: Pair) -> None:
    jobs: list[Job] = []

    def time(path: Path) -> float:
        return 10.0 * (1.02 if path == jobs[-1].path else 1.0)

    (session,) = gate(pair, Counting(time, started=jobs)).sessions
    assert len(jobs) == 2 * len(session.sittings)
    assert [round(each.ratio, 4) for each in session.sittings[:2]] == [1.02, round(1 / 1.02, 4)]
    assert [round(each.baseline, 4) for each in session.sittings[:2]] == [10.0, 10.2]


def test_what_scatters_too_much_to_say_is_inconclusive(pair: Pair) -> None:
    draw = random.Random(0)
    noise = {"baseline": 0.0, "candidate": 0.3}
    noisy = FakeDevice(lambda path: slower_by(0.05)(path) * math.exp(draw.gauss(0, noise[path.stem])))
    result = gate(pair, noisy, time_limit_s=0.0)
    assert result.verdict == "inconclusive" and "not told apart" in result.why


def test_a_machine_that_never_holds_still_is_inconclusive(pair: Pair) -> None:
    blocks = itertools.count()
    result = gate(pair, FakeDevice(lambda path: 10.0 * (1 + next(blocks) % 3)))
    assert result.verdict == "inconclusive" and "too noisy" in result.why


def test_an_exact_device_needs_one_look(pair: Pair) -> None:
    cycles = FakeDevice(slower_by(0.06), "cycles", exact=True)
    result = gate(pair, cycles, Limits(min_delta=0.0))
    assert result.verdict == "failed"
    assert [len(each.sittings) for each in result.sessions] == [1]
    assert gate(pair, dataclasses.replace(cycles, time=slower_by(0.04)), Limits(min_delta=0.0)).verdict == "passed"


def test_a_file_that_is_too_large_fails_without_a_second_session(pair: Pair) -> None:
    result = gate(pair, FakeDevice(slower_by(0.0)), Limits(size_bytes=99))
    assert result.verdict == "failed" and len(result.sessions) == 1
    assert result.why == "file size 100 bytes, limit 99"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"runtime": "litert"}, "the baseline runs on onnxruntime, the candidate on litert"),
        ({"precision": "int8"}, "the baseline is fp32, the candidate int8"),
    ],
)
def test_files_that_say_nothing_about_each_other_are_not_timed(pair: Pair, change: dict[str, str], why: str) -> None:
    other = dataclasses.replace(pair[1], **change)
    result = gate((dataclasses.replace(pair[0], precision="fp32"), other), FakeDevice(slower_by(0.0)))
    assert (result.verdict, result.why, result.sessions) == ("not comparable", why, ())
