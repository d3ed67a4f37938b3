from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_prune.errors import Inconclusive, InputError, UnitError
from deploy_prune.records import read_record, write_record
from deploy_prune.timing import conditions
from deploy_prune.timing.bracketing import Pace, choose_block_size, compare, summarise_brackets, take_rounds
from deploy_prune.timing.client import start_worker
from deploy_prune.timing.devices import Job
from deploy_prune.timing.fake_device import FakeWorker
from deploy_prune.values import Bracket, Comparison

WARMING = 2
"""Blocks of a file that is steady at once: one to find how many inferences fill a block, one that agrees with it."""


@dataclass
class Machine:
    """A machine that is as slow in its n-th block after warming up as `slowness` says, the last of which goes on."""

    slowness: list[float] = field(default_factory=lambda: [1.0])
    workers: int = 2
    taken: list[str] = field(default_factory=list)
    """The name of the worker that took each block."""

    def factor(self, name: str) -> float:
        self.taken.append(name)
        index = len(self.taken) - 1 - WARMING * self.workers
        return 1.0 if index < 0 else self.slowness[min(index, len(self.slowness) - 1)]

    def worker(self, name: str, fastest_ms: float = 4.0) -> FakeWorker:
        """A worker whose inferences take 1.2, 1 and 1.5 times `fastest_ms` in turns: their median is 1.2 times that."""
        job = Job(Path(name), "onnxruntime", threads=1, cores=(0,), seed=0)
        return FakeWorker(job, lambda _: fastest_ms * self.factor(name), samples=(1.2, 1.0, 1.5))

    @property
    def order(self) -> str:
        return "".join(self.taken[WARMING * self.workers :])


def compared(slowness: list[float], pace: Pace, *, candidate_ms: float = 2.0) -> tuple[Machine, Comparison]:
    machine = Machine(slowness)
    return machine, compare(machine.worker("R"), machine.worker("c", candidate_ms), pace)


def test_a_bracket_compares_the_fastest_with_the_middle_of_the_fastest_before_and_after():
    """Before 2 and after 4 give 3; 6 / 3 = 2; 4 is twice 2."""
    bracket = Bracket(before=(5.0, 2.0), candidate=(6.0, 9.0), after=(4.0, 8.0), unit="ms")
    assert (bracket.reference, bracket.ratio, bracket.drift) == (3.0, 2.0, 1.0)


def test_the_ratio_is_the_median_over_brackets():
    """R c R c R c R: c at 2, 3 and 10 ms, R at 4 ms: 0.5, 0.75 and 2.5; the interval reaches from end to end."""
    _, found = compared([1, 1, 1, 1.5, 1, 5, 1], Pace(blocks=3, block_ms=14.4, fewest_inferences=3))
    assert [bracket.ratio for bracket in found.brackets] == [0.5, 0.75, 2.5]
    assert (found.ratio, found.interval, found.reference, found.repeated) == (0.75, (0.5, 2.5), 4.0, 0)
    assert found.brackets[0] == Bracket((4.8, 4.0, 6.0), (2.4, 2.0, 3.0, 2.4, 2.0, 3.0), (4.8, 4.0, 6.0), "ms")


def test_a_block_of_the_reference_closes_one_bracket_and_opens_the_next():
    machine, found = compared([1.0], Pace(blocks=12))
    assert machine.order == "R" + 12 * "cR"
    assert len(found.brackets) == 12
    assert all(one.after is two.before for one, two in zip(found.brackets, found.brackets[1:], strict=False))


def test_a_bracket_whose_reference_moved_is_repeated_and_not_counted():
    """The clock drops by 20 % during the second block of c, which shows 1.2 times its time, and stays there."""
    machine, found = compared([1, 1, 1, 1.2, 1.2], Pace(blocks=3))
    assert machine.order == "R" + 4 * "cR"
    assert (found.repeated, len(found.brackets)) == (1, 3)
    assert [bracket.ratio for bracket in found.brackets] == pytest.approx([0.5, 0.5, 0.5])
    assert all(bracket.drift <= 0.05 for bracket in found.brackets)


def test_a_machine_that_never_holds_still_is_given_up_with_what_was_seen():
    """R at 4, 4, 5, 4, 5 ms ...: one bracket counts, then all of them move by 25 %."""
    slowness = [1, 1, 1, *(10 * [1, 1.25, 1, 1])]
    with pytest.raises(Inconclusive, match=r"up to 25\.0% \(median 25\.0%\); 4 of 5 blocks") as given_up:
        compared(slowness, Pace(repeats=3))
    assert given_up.value.exit_code == 5
    assert "close other programs" in given_up.value.hint and "deploy-prune doctor" in given_up.value.hint


def test_as_many_repeats_as_allowed_are_no_error():
    _, found = compared([1, 1, 1.25, 1, 1, 1, 1], Pace(blocks=1, repeats=2))
    assert found.repeated == 2


def test_steady_drift_of_the_machine_cancels():
    """Every block is 1 % slower than the one before: c at 1.01, R at 1 and 1.0201, the middle of which is 1.01005."""
    _, found = compared([1.01**index for index in range(30)], Pace(blocks=12))
    assert found.repeated == 0
    assert found.ratio == pytest.approx(0.5, rel=1e-3)


@given(st.floats(0.01, 100), st.lists(st.floats(0.5, 2), min_size=7, max_size=7))
def test_a_candidate_k_times_as_slow_has_k_times_the_ratio(k: float, slowness: list[float]):
    pace = Pace(blocks=3, drift=math.inf)
    _, base = compared(slowness, pace)
    _, slower = compared(slowness, pace, candidate_ms=2.0 * k)
    assert slower.ratio == pytest.approx(k * base.ratio)
    assert slower.interval == pytest.approx(tuple(k * end for end in base.interval))
    assert slower.reference == base.reference


def test_a_round_has_the_reference_between_any_two_candidates():
    machine = Machine(workers=4)
    workers = [machine.worker(name) for name in "Rabc"]
    rounds = take_rounds(workers[0], workers[1:], Pace(blocks=3))
    assert machine.taken == ["R", "R", "a", "a", "b", "b", "c", "c"], "warm before the first round is asked for"
    first = next(rounds)
    assert machine.order == "RaRbRcR"
    assert [len(each.readings) for each in (first, *rounds)] == [3, 3, 3]
    assert machine.order == "R" + 3 * "aRbRcR"


def test_repeats_are_counted_candidate_by_candidate():
    """R is slower from the first b to the second a: one repeat each, which is as many as each may have."""
    machine = Machine([1, 1, 1, 1, 1.2, 1.2, 1.2, 1.2, 1, 1, 1, 1, 1], workers=3)
    workers = [machine.worker(name) for name in "Rab"]
    rounds = list(take_rounds(workers[0], workers[1:], Pace(blocks=2, repeats=1, drift=0.1)))
    assert machine.order == "RaRbRbRaRaRbR"
    assert [[len(reading.thrown) for reading in each.readings] for each in rounds] == [[0, 1], [1, 0]]


def test_a_reference_alone_takes_its_blocks():
    machine = Machine(workers=1)
    rounds = list(take_rounds(machine.worker("R"), [], Pace(blocks=3)))
    assert machine.order == "RRR"
    assert [(len(each.reference), each.readings) for each in rounds] == [(1, ())] * 3


def test_blocks_of_both_last_as_long_as_asked():
    """Medians of 4.8 and 2.4 ms: 24 / 4.8 = 5 and 24 / 2.4 = 10 inferences, once one has been tried."""
    machine = Machine()
    reference, candidate = machine.worker("R"), machine.worker("c", 2.0)
    compare(reference, candidate, Pace(blocks=1, block_ms=24.0))
    assert reference.asked == [1, 5, 5, 5]
    assert candidate.asked == [1, 10, 10]


@pytest.mark.parametrize(("inference_ms", "inferences"), [(7.0, 10), (70.0, 5), (2000.0, 5), (0.7, 100), (1e-6, 1000)])
def test_a_block_takes_some_70_ms_and_at_least_five_inferences(inference_ms: float, inferences: int):
    assert choose_block_size(inference_ms) == inferences


def test_a_comparison_survives_the_disk(tmp_path):
    _, found = compared([1, 1, 1, 1.5, 1, 5, 1], Pace(blocks=3))
    write_record(tmp_path / "comparison.json", found)
    assert read_record(tmp_path / "comparison.json", Comparison) == found


def _job(path):
    return Job(path, "onnxruntime", 1, conditions.list_allowed_cores()[:1], 0)


@pytest.mark.heavy
def test_a_worker_times_another_file_without_a_new_process(small_and_large):
    small, large = small_and_large
    pace = Pace(blocks=3, block_ms=10.0, drift=math.inf)
    with start_worker(_job(small)) as reference, start_worker(_job(small)) as first:
        second = first.open(large)
        assert (second.job.path, second.process) == (large, first.process)
        assert compare(reference, second, pace).ratio > 1.5
        assert 0.5 < compare(reference, second.open(small), pace).ratio < 1.5


def test_a_worker_survives_a_damaged_file(tiny_onnx, tmp_path):
    garbage = tmp_path / "garbage.onnx"
    garbage.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8)
    with start_worker(_job(tiny_onnx)) as worker:
        with pytest.raises(InputError, match=r"garbage\.onnx"):
            worker.open(garbage)
        assert len(worker.open(tiny_onnx).block(5, timeout_s=30).samples) == 5


@pytest.mark.heavy
def test_a_file_in_whose_place_another_was_opened_is_not_timed(small_and_large):
    small, large = small_and_large
    with start_worker(_job(small)) as worker:
        worker.open(large)
        with pytest.raises(InputError, match=r"small\.onnx is no longer open"):
            worker.block(5, timeout_s=30)


def test_brackets_of_two_units_are_not_summed_up() -> None:
    brackets = [Bracket((1.0,), (2.0,), (1.0,), unit) for unit in ("ms", "cycles")]
    with pytest.raises(UnitError, match="figures in ms and in cycles are never compared") as caught:
        summarise_brackets(brackets, 0)
    assert "both in cycles" in caught.value.hint
