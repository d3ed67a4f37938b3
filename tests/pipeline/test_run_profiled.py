"""Under a budget in milliseconds a run begins by timing the network at many widths: a stage like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from latencies import REFERENCE_MS, made_up, renamed
from tinyrun import by_hand, config

from deploy_prune.budget.latency.place import Place
from deploy_prune.budget.latency.store import open_store
from deploy_prune.budget.parse import parse
from deploy_prune.errors import BudgetError
from deploy_prune.graph.soundness import settle
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.pipeline.context import RunContext
from deploy_prune.pipeline.front import front
from deploy_prune.pipeline.preflight import preflight
from deploy_prune.pipeline.run import prune
from deploy_prune.records import read_record
from deploy_prune.results import ProfileResult
from deploy_prune.run_folder import RunFolder
from deploy_prune.sources.open import open_network
from deploy_prune.timing.devices import THIS_MACHINE
from deploy_prune.train.recipe import Hooks


class Trained(BaseException):
    """The run came to its first training. No Exception: those of a hook are told as faults of the hook."""


def stop(*_: object) -> Any:
    raise Trained


HOOKS = Hooks(fit=stop)


@pytest.fixture
def table(sources: Path, tmp_path: Path) -> Path:
    """A store with a whole table of the network on this machine: profiling finds it there and times nothing."""
    target, path = Place("litert", THIS_MACHINE).target, tmp_path / "latency.sqlite"
    graph = settle(open_network(f"{sources}/net.py:build", input_shape=(3, 8, 8)))
    made = renamed(made_up(graph, noise=0.0), device=target.device, runtime_version=target.runtime_version)
    with open_store(path) as store:
        store.begin(made)
        store.add(made, *made.samples)
    return path


def in_milliseconds(sources: Path, store: Path, budget: str = "4ms", **changes: Any) -> RunConfig:
    return config(sources, budget=budget, store=store, **changes)


def test_profiling_is_a_stage_that_is_done_once(sources: Path, table: Path, tmp_path: Path) -> None:
    asked, run = in_milliseconds(sources, table), tmp_path / "run"
    with pytest.raises(Trained):
        prune(asked, run, hooks=HOOKS)
    record = read_record(run / "profiled.json", ProfileResult)
    assert (record.target, record.reference, record.unit) == (Place("litert", THIS_MACHINE).target, REFERENCE_MS, "ms")
    assert record.network == "tests:made_up"
    assert record.samples == 64
    assert 0 <= record.mean_error < 0.06
    table.unlink()
    with pytest.raises(Trained):
        prune(asked, run, hooks=HOOKS)
    assert not table.exists()


def test_a_budget_out_of_reach_is_refused_before_training_and_can_be_corrected(
    sources: Path, table: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    for budget, said in (("0.1ms", "below the smallest network"), ("9ms", "not below the dense network")):
        with pytest.raises(BudgetError, match=said):
            prune(in_milliseconds(sources, table, budget), run, hooks=HOOKS)
    with pytest.raises(Trained):
        prune(in_milliseconds(sources, table), run, hooks=HOOKS)


def test_every_budget_of_a_front_is_looked_at_before_training(sources: Path, table: Path, tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="not below the dense network"):
        front(in_milliseconds(sources, table), ("9ms", "4ms"), tmp_path / "front", hooks=HOOKS)
    with pytest.raises(Trained):
        front(in_milliseconds(sources, table), ("6ms", "4ms"), tmp_path / "front", hooks=HOOKS)
    assert (tmp_path / "front" / "profiled.json").exists()


def test_nothing_is_measured_before_the_run_begins(sources: Path, tmp_path: Path) -> None:
    missing = tmp_path / "latency.sqlite"
    context = RunContext(in_milliseconds(sources, missing), RunFolder(tmp_path), Hooks())
    preflight(context, (parse("4ms"),))
    assert context.needs_profile
    assert not missing.exists()


@pytest.mark.parametrize("record", ["planning.json", "scores.safetensors"])
def test_a_run_that_was_planned_before_profiling_was_a_stage_goes_on_without(
    sources: Path, tmp_path: Path, record: str
) -> None:
    context = RunContext(in_milliseconds(sources, tmp_path / "none"), RunFolder(tmp_path), Hooks())
    (tmp_path / record).touch()
    assert not context.needs_profile


@pytest.mark.heavy
def test_a_run_that_is_stopped_behind_its_widths_needs_no_store_to_end_in_the_same_plan(
    sources: Path, tmp_path: Path
) -> None:
    """Under milliseconds of a phone's table, which are not timed here; the store is removed while nothing runs."""
    path = tmp_path / "latency.sqlite"
    made = made_up(settle(open_network(f"{sources}/net.py:build", input_shape=(3, 8, 8))), noise=0.0)
    with open_store(path) as store:
        store.begin(made)
        store.add(made, *made.samples)
    dcp = {"heads": 0, "images": 64, "batch_size": 32, "steps": 2}
    asked = in_milliseconds(sources, path, device="phone", method="dcp", method_options=dcp, finetune=None, workers="1")

    def stop_behind_widths(task: str, done: int, *_: object) -> None:
        if task == "widths" and done:
            raise KeyboardInterrupt

    undisturbed = prune(asked, tmp_path / "undisturbed").plan
    with pytest.raises(KeyboardInterrupt):
        prune(asked, tmp_path / "run", progress=stop_behind_widths)
    path.unlink()
    again = prune(asked, tmp_path / "run").plan
    assert (again.plan, again.method, again.groups) == (undisturbed.plan, undisturbed.method, undisturbed.groups)
    assert again.plan.reached <= again.plan.asked == 4.0
    assert not path.exists()


def test_multiply_adds_and_plans_by_hand_need_no_profile(sources: Path, tmp_path: Path) -> None:
    plan = by_hand(tmp_path, {"up.0": (0, 5, 23)})
    for asked, file in ((config(sources), None), (in_milliseconds(sources, tmp_path / "none"), plan)):
        assert not RunContext(asked, RunFolder(tmp_path), Hooks(), file).needs_profile
