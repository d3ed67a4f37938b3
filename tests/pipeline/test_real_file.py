"""A plan is only good when its real file is: what misses the budget is planned again, and the store learns."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from latencies import PHONE, REFERENCE_MS, made_up, mixed, ratios

from deploy_prune.budget.allocate import allocate
from deploy_prune.budget.latency.model import LatencyCost, LatencyModel, fit_model
from deploy_prune.budget.latency.store import Store, open_store
from deploy_prune.budget.latency.table import Profile, list_network_samples
from deploy_prune.budget.widths import Limits
from deploy_prune.errors import BudgetError, UnitError
from deploy_prune.graph import trace
from deploy_prune.pipeline import real_file
from deploy_prune.pipeline.real_file import (
    ACCEPTED,
    AIM,
    ATTEMPTS,
    Chosen,
    RealFiles,
    RealPlan,
    left_over,
    plan_on_real_file,
)
from deploy_prune.results import Attempt
from deploy_prune.scoring.top_units import best_units
from deploy_prune.timing.fake_device import FakeDevice
from deploy_prune.values import Network, Progress, Scores, quiet

GRAPH = trace(mixed())
TABLE = made_up(GRAPH, noise=0.0)
MODEL = fit_model(TABLE)
DENSE = (21, 38, 11)
LIMIT_MS = 0.6 * REFERENCE_MS


@dataclass
class Machine:
    """Real files take what the table says, times `slower`; the file of a network is the widths of its layers."""

    slower: Callable[[float], float] = lambda ratio: ratio
    timed: list[tuple[int, ...]] = field(default_factory=list)

    def ms(self, path: Path) -> float:
        assert path.suffix == ".tflite"
        widths = tuple(json.loads(path.read_text()))
        return REFERENCE_MS * (1.0 if widths == DENSE else self.slower(true_ratio(widths)))

    def write(self, network: Network, exporter: str) -> bytes:
        assert exporter == "tflite"
        widths = tuple(getattr(network.module, name).out_channels for name in ("a", "b", "down"))
        self.timed += [widths] if widths != DENSE else []
        return json.dumps(widths).encode()


@cache
def true_ratio(widths: tuple[int, ...]) -> float:
    return float(ratios(TABLE.drawing, np.array([widths]))[0])


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "latency.sqlite") as found:
        found.begin(TABLE)
        found.add(TABLE, *TABLE.samples)
        yield found


def choose(limit_ms: float, model: LatencyModel) -> Chosen:
    """The plans of a run: even scores."""
    cost = LatencyCost.of(model, GRAPH)
    scores = Scores({each.name: np.arange(each.width) / each.width for each in GRAPH.free})
    return Chosen(GRAPH, best_units(scores, allocate(GRAPH, scores, cost, limit_ms, Limits())), cost)


def close(machine: Machine, store: Store, limit_ms: float = LIMIT_MS, progress: Progress = quiet) -> RealPlan:
    machine.timed.clear()
    files = RealFiles(FakeDevice(machine.ms), store, machine.write)
    return plan_on_real_file(mixed(), limit_ms, choose, MODEL, files, progress=progress)


def learnt(store: Store) -> Profile:
    found = store.find(TABLE.network, TABLE.target)
    assert found is not None
    return found


def test_a_model_that_is_right_meets_the_budget_at_once(machine, store):
    plan = close(machine, store)
    chosen, found = plan.chosen, plan.closing
    (attempt,) = found.attempts
    assert found.chosen == 0 and found.limit == LIMIT_MS and found.target == PHONE
    assert attempt.aim == AIM * LIMIT_MS
    assert attempt.predicted <= attempt.aim
    assert ACCEPTED[0] * LIMIT_MS <= attempt.measured <= ACCEPTED[1] * LIMIT_MS
    assert attempt.interval == pytest.approx((attempt.measured, attempt.measured))
    assert machine.timed == [tuple(chosen.widths)]


def test_a_model_that_is_a_tenth_off_is_corrected_in_the_second_attempt(machine, store):
    machine.slower = lambda ratio: 1.1 * ratio
    plan = close(machine, store)
    chosen, found = plan.chosen, plan.closing
    first, second = found.attempts
    assert first.measured > ACCEPTED[1] * LIMIT_MS
    assert second.aim == pytest.approx(AIM * LIMIT_MS * AIM * LIMIT_MS / first.measured)
    assert ACCEPTED[0] * LIMIT_MS <= second.measured <= ACCEPTED[1] * LIMIT_MS
    assert found.chosen == 1 and tuple(chosen.widths) == machine.timed[1]


def test_a_file_that_is_faster_than_it_need_be_is_planned_again_as_well(machine, store):
    machine.slower = lambda ratio: 0.85 * ratio
    found = close(machine, store).closing
    assert found.attempts[0].measured < ACCEPTED[0] * LIMIT_MS
    assert found.attempts[1].aim > AIM * LIMIT_MS
    assert found.attempts[found.chosen].measured >= ACCEPTED[0] * LIMIT_MS


def stairs(ratio: float) -> float:
    """Nothing between 50 and 70 % of the dense network's time: the budget of 60 % lies between two stairs."""
    return 0.5 if ratio < 0.58 else 0.7


def test_between_two_stairs_the_one_below_the_budget_is_shipped(machine, store):
    machine.slower = stairs
    found = close(machine, store).closing
    assert found.attempts[found.chosen].measured == pytest.approx(0.5 * REFERENCE_MS)


def test_a_plan_below_a_high_stair_says_what_the_next_one_takes(machine, store):
    """No single group can grow for less than that, by the model."""
    machine.slower = stairs
    plan = close(machine, store)
    chosen, found = plan.chosen, plan.closing
    said = re.fullmatch(
        r"the plan takes 4 of 4.8 ms: its next stair, (\d+) of \d+ units in group '(\S+)', would take (\S+) ms by .*",
        left_over(chosen, found, Limits()),
    )
    assert said
    name, place = said[2], [each.name for each in GRAPH.free].index(said[2])
    dense, grown = np.array([each.width for each in GRAPH.free]), chosen.widths.copy()
    grown[place] = int(said[1])
    assert grown[place] > chosen.widths[place] and len(chosen.keep[name]) == chosen.widths[place]
    assert float(said[3]) == pytest.approx(float(chosen.cost(grown)), rel=5e-3)
    wider = [widths for widths in chosen.widths + np.eye(len(grown), dtype=int) if all(widths <= dense)]
    others = [float(chosen.cost(widths)) for widths in wider]
    assert float(chosen.cost(grown)) <= min(others)


def test_a_plan_that_leaves_little_says_nothing(machine, store):
    plan = close(machine, store)
    chosen, found = plan.chosen, plan.closing
    assert left_over(chosen, found, Limits()) == ""


def test_on_a_simulated_core_everything_is_of_its_unit_and_milliseconds_are_refused(machine, tmp_path):
    cycles, told = "simulated Cortex-A72 cycles", []
    table = replace(TABLE, unit=cycles, reference=1e6 * REFERENCE_MS)
    model, limit, machine.slower = fit_model(table), 1e6 * LIMIT_MS, stairs
    with open_store(tmp_path / "cycles.sqlite") as store:
        store.begin(table)
        core = FakeDevice(lambda path: 1e6 * machine.ms(path), cycles, exact=True)
        files = RealFiles(core, store, machine.write)
        plan = plan_on_real_file(mixed(), limit, choose, model, files, progress=lambda *said: told.append(said[3]))
        assert plan.closing.unit == cycles and {each.unit for each in plan.closing.attempts} == {cycles}
        assert plan.closing.attempts[plan.closing.chosen].measured == pytest.approx(0.5 * table.reference)
        assert told[-1].endswith(f"M {cycles}")
        assert left_over(plan.chosen, plan.closing, Limits()).startswith(
            f"the plan takes 4M of 4.8M {cycles}: its next"
        )
        clocked = RealFiles(FakeDevice(machine.ms), store, machine.write)
        with pytest.raises(UnitError, match=f"figures in ms and in {cycles} are never compared"):
            plan_on_real_file(mixed(), limit, choose, model, clocked)


def test_attempts_are_bounded_and_the_closest_is_shipped(machine, store):
    """However slow the files become, no plan meets the budget; each is less over it than the one before."""
    machine.slower = lambda ratio: 0.65 + 0.05 * ratio
    found = close(machine, store).closing
    assert 1 < len(found.attempts) <= ATTEMPTS
    over = [attempt.measured for attempt in found.attempts]
    assert min(over) > ACCEPTED[1] * LIMIT_MS
    assert over[found.chosen] == min(over)


def test_no_plan_is_timed_twice(machine, store):
    for slower in (stairs, lambda ratio: 1.3 * ratio, lambda ratio: 0.65 + 0.05 * ratio):
        machine.slower = slower
        close(machine, store)
        assert len(set(machine.timed)) == len(machine.timed)


def test_a_correction_beyond_the_smallest_network_ships_the_best_that_was_timed(machine, store):
    """The smallest network would do by the model; its file takes three times as long, and nothing is smaller."""
    least_ms = float(LatencyCost.of(MODEL, GRAPH)(np.array([3, 4, 2])))
    machine.slower = lambda ratio: 3 * ratio
    found = close(machine, store, 1.1 * least_ms).closing
    assert len(found.attempts) == 1 and found.chosen == 0


def test_a_correction_beyond_the_dense_network_ships_the_best_that_was_timed(machine, store):
    machine.slower = lambda ratio: 0.5 * ratio
    found = close(machine, store, 0.9 * REFERENCE_MS).closing
    assert [attempt.measured < 0.5 * REFERENCE_MS for attempt in found.attempts] == [True] * len(found.attempts)


def test_a_budget_that_no_plan_can_meet_is_refused_before_anything_is_timed(machine, store):
    with pytest.raises(BudgetError):
        close(machine, store, 0.001)
    assert machine.timed == []


def test_the_store_learns_what_the_real_files_take(machine, store):
    machine.slower = lambda ratio: 1.1 * ratio
    found = close(machine, store).closing
    samples = {each.widths: each for each in list_network_samples(learnt(store))}
    for widths, attempt in zip(machine.timed, found.attempts, strict=True):
        assert samples[widths].ratio * REFERENCE_MS == pytest.approx(attempt.measured)
    kept = {each.widths for each in TABLE.samples}
    assert set(samples) == kept | set(machine.timed)


def test_the_model_that_comes_back_is_the_one_that_the_store_holds_now(machine, store):
    """The next run reads from the store what this one goes on with."""
    machine.slower = lambda ratio: 1.1 * ratio
    plan = close(machine, store)
    assert len(plan.closing.attempts) == 2
    taught = tuple(replace(each, comparison=None) for each in plan.model.profile.samples)
    assert taught == learnt(store).samples


def test_attempts_are_told(machine, store):
    told: list[tuple[str, int, int, str]] = []
    close(machine, store, progress=lambda *each: told.append(each))
    ((task, done, most, note),) = told
    assert (task, done, most) == ("plan on the real file", 1, ATTEMPTS) and note.endswith(" ms")


def test_over_the_budget_is_worse_than_any_distance_below_it():
    below, over = (Attempt(1.0, 1.0, ms, (ms, ms), "ms") for ms in (0.3, 1.03))
    assert real_file._miss(below, 1.0) < real_file._miss(over, 1.0)
