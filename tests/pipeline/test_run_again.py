"""Going on from a run: another round of training, and pruning what was pruned."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from listening import interrupt_at
from tinyrun import by_hand, config, weights_sha256

from deploy_prune import plugins
from deploy_prune.errors import ConfigError, DataError, PlanError, RecordError
from deploy_prune.pipeline import run as pipeline
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.pipeline.run import finetune, prune
from deploy_prune.records import read_record
from deploy_prune.results import RunSummary
from deploy_prune.sources import checkpoint
from deploy_prune.values import Plan


def test_one_more_round_begins_where_the_last_ended(sources: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = prune(config(sources), run)
    before = weights_sha256(run)
    second = finetune(run, epochs=2)
    assert (second.trained.epochs, second.plan) == (2, first.plan)
    assert weights_sha256(run) == before
    assert checkpoint.final_network(run) == run / "round-2"
    assert prune(config(sources), run) == second


@pytest.mark.heavy
def test_a_round_that_was_interrupted_is_finished_and_not_doubled(sources: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    prune(config(sources), run)
    with pytest.raises(KeyboardInterrupt):
        finetune(run, epochs=2, progress=interrupt_at("shipped-2"))
    with pytest.raises(ConfigError, match="begun with 2 epochs"):
        finetune(run, epochs=3)
    finetune(run, epochs=2)
    assert not (run / "trained-3.json").exists()
    finetune(run, epochs=2)
    assert (run / "trained-3.json").exists()


def test_a_run_that_is_not_finished_cannot_be_trained_further(sources: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        prune(config(sources), tmp_path / "run", progress=interrupt_at("shipped-1"))
    with pytest.raises(RecordError, match="not finished"):
        finetune(tmp_path / "run")


@pytest.mark.heavy
def test_pruning_a_run_again_composes_in_the_dense_numbers(bare: tuple[Path, RunSummary], tmp_path: Path) -> None:
    run, first = bare
    config = RunConfig(model=str(run), budget="0.6x", refit=False, finetune=None, targets=(), threads=())
    again = prune(config, tmp_path / "run")
    for name in ("stem.0", "up.0"):
        assert set(again.plan.plan.keep[name]) < set(first.plan.plan.keep[name])
    assert again.dense.count == first.cut.count
    shipped = read_record(checkpoint.final_network(tmp_path / "run") / "plan.json", Plan)
    assert shipped.keep == again.plan.plan.keep
    # The kept units' filters are those of the run before, found by their dense numbers.
    before, after = (checkpoint.load(path).module for path in (run, tmp_path / "run"))
    places = np.searchsorted(first.plan.plan.keep["up.0"], again.plan.plan.keep["up.0"])
    inputs = np.searchsorted(first.plan.plan.keep["stem.0"], again.plan.plan.keep["stem.0"])
    assert torch.equal(after.up[0].weight, before.up[0].weight[places][:, inputs])


def test_pruning_again_by_hand_refuses_a_unit_that_is_gone(bare: tuple[Path, RunSummary], tmp_path: Path) -> None:
    run, first = bare
    gone = min(set(range(24)) - set(first.plan.plan.keep["up.0"]))
    plan = by_hand(tmp_path, {"up.0": (gone,)})
    with pytest.raises(PlanError, match=f"lost unit {gone} in an earlier run"):
        prune(RunConfig(model=str(run), targets=(), threads=()), tmp_path / "run", plan=plan)


@pytest.mark.heavy
def test_a_run_folder_as_the_model_brings_its_data_along(bare: tuple[Path, RunSummary], tmp_path: Path) -> None:
    asked = RunConfig(model=str(bare[0]), budget="0.8x", finetune=None, targets=(), threads=())
    prune(asked, tmp_path / "run")
    assert json.loads((tmp_path / "run/run.json").read_text())["value"]["data"].endswith("data.py:read")
    with pytest.raises(DataError, match="has 4 classes"):
        prune(asked.model_copy(update={"data": "digits"}), tmp_path / "other")


def test_a_run_folder_as_the_model_decides_its_classes(bare: tuple[Path, RunSummary], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has its own classes"):
        prune(RunConfig(model=str(bare[0]), classes=4), tmp_path / "run")


def test_progress_names_every_stage(sources: Path, tmp_path: Path) -> None:
    told: list[str] = []
    asked = config(sources, finetune=None)
    prune(asked, tmp_path / "run", progress=lambda task, done, total, note="": told.append(task))
    stage_names = ["dense", "planning", "cut", "trained-1", "test-1", "dense-test", "shipped-1",
                   "dense-shipped", "timed-1"]  # fmt: skip
    assert [task for task in dict.fromkeys(told) if ":" not in task] == stage_names
    assert "dense: training" in told


def test_the_demonstration_halves_a_networks_milliseconds_and_ships_every_format_of_the_usual_extras() -> None:
    assert (pipeline.DEMO.method, pipeline.DEMO.budget, pipeline.DEMO.refit) == ("obs", "latency=0.5x", True)
    assert {*pipeline.DEMO.targets, "coreai"} == set(plugins.list_names("exporters"))
