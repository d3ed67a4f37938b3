"""A run from start to end: what reaches disk, what it costs, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from tinyrun import DENSE_MACS, DENSE_PARAMS, QUICK, by_hand, config, weights_sha256, written

import deploy_prune
from deploy_prune.errors import BudgetError, ConfigError, DataError, OurFault, PlanError, StorageError
from deploy_prune.pipeline import stages
from deploy_prune.pipeline.run import prune
from deploy_prune.records import SCHEMA, read_record, write_record
from deploy_prune.results import RunSummary
from deploy_prune.sources import checkpoint
from deploy_prune.values import Plan

RECORDS = (
    "run",
    "splits",
    "dense",
    "planning",
    "plan",
    "cut",
    "trained-1",
    "dense-test",
    "test-1",
    "shipped-1",
    "timed-1",
    "summary",
)


@pytest.fixture(scope="module")
def finished(sources: Path) -> tuple[Path, RunSummary]:
    """A whole run with a file, timed."""
    run = sources / "finished"
    return run, prune(config(sources, targets=("onnx",), threads=(1,)), run)


def times(run: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}


# --- what a run leaves ---------------------------------------------------------------------------------------


def test_every_stage_leaves_a_record_with_the_schema_number(bare: tuple[Path, RunSummary]) -> None:
    run, _ = bare
    for name in RECORDS:
        assert json.loads((run / f"{name}.json").read_text())["schema"] == SCHEMA, name
    assert (run / "report.md").read_text().startswith("# ")
    assert (run / "report.html").read_text().startswith("<!doctype html>")


@pytest.mark.heavy
def test_what_was_shipped_is_verified_and_timed_against_the_dense_file(finished: tuple[Path, RunSummary]) -> None:
    _, summary = finished
    assert [(row.format, row.status) for row in (*summary.ship.dense, *summary.ship.pruned)] == [
        ("onnx", "verified"),
        ("onnx", "verified"),
    ]
    dense, pruned = summary.bench.measurements
    assert (Path(dense.artifact).name, dense.ratio) == ("dense.onnx", None)
    assert (Path(pruned.artifact).name, summary.speedups) == ("pruned.onnx", (pruned,))


@pytest.mark.heavy
def test_a_finished_run_is_timed_anew_as_a_whole(finished: tuple[Path, RunSummary]) -> None:
    run, summary = finished
    before = times(run)
    again = deploy_prune.bench([run], blocks=3)
    assert [each.artifact for each in again] == [each.artifact for each in summary.bench.measurements]
    assert times(run) == before


def test_the_same_call_again_touches_no_file(bare: tuple[Path, RunSummary], sources: Path) -> None:
    run, summary = bare
    before = times(run)
    assert prune(config(sources), run) == summary
    assert times(run) == before


def test_the_loaded_network_is_the_small_one(bare: tuple[Path, RunSummary]) -> None:
    run, summary = bare
    module = checkpoint.load(run).module
    keep = summary.plan.plan.keep
    assert module.stem[0].weight.shape == (len(keep["stem.0"]), 3, 3, 3)
    assert module.down[0].weight.shape == (len(keep["stem.0"]), len(keep["up.0"]), 3, 3)


def test_paths_may_be_texts(bare: tuple[Path, RunSummary], sources: Path) -> None:
    run, summary = bare
    assert prune(config(sources), str(run)) == summary
    assert deploy_prune.load(str(run)).classes == 4
    assert deploy_prune.report(str(run)) == (run / "report.md").read_text()


def test_counts_before_and_after_are_those_worked_out_by_hand(bare: tuple[Path, RunSummary]) -> None:
    _, summary = bare
    assert (summary.dense.count.macs, summary.dense.count.params) == (DENSE_MACS, DENSE_PARAMS)
    stream, inside = (len(summary.plan.plan.keep[name]) for name in ("stem.0", "up.0"))
    by_hand = 64 * (27 * stream + stream * inside + 9 * inside * stream) + stream * 4
    assert summary.cut.count.macs == summary.cut.predicted_macs == summary.plan.plan.reached == by_hand
    assert by_hand <= DENSE_MACS / 2


@pytest.mark.parametrize(
    ("macs", "params", "said"),
    [
        ((60, 61), (50, 40), "has 61 MACs, 60 were predicted"),
        ((60, 60), (50, 50), "has 50 parameters, the dense one 50"),
    ],
)
def test_a_cut_that_is_not_as_promised_is_an_error(macs: tuple[int, int], params: tuple[int, int], said: str) -> None:
    with pytest.raises(OurFault, match=said) as caught:
        stages.check_sizes(macs, params)
    assert "please report it" in caught.value.hint


def test_the_record_of_a_cut_has_its_error_against_the_law(bare: tuple[Path, RunSummary]) -> None:
    run, summary = bare
    assert summary.cut.law_error is not None
    assert 0 <= summary.cut.law_error < 1e-9
    assert "with the removed channels at zero" in (run / "report.md").read_text()


# --- budgets -------------------------------------------------------------------------------------------------


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("budget", "cost", "limit"),
    [
        ("0.6x", "macs", 0.6 * DENSE_MACS),
        ("150kMACs", "macs", 150_000),
        ("params=3k", "params", 3_000),
        ("size=14kB", "size", 14_000),
        ("channels=0.7", "channels", 28),
        ("params=0.5x", "params", DENSE_PARAMS / 2),
    ],
)
def test_a_budget_reaches_what_it_says(sources: Path, tmp_path: Path, budget: str, cost: str, limit: float) -> None:
    summary = prune(config(sources, pretrain=None, finetune=None, budget=budget), tmp_path / "run")
    plan, weights = summary.plan.plan, tmp_path / "run/round-1/weights.safetensors"
    assert (plan.cost, plan.asked) == (cost, pytest.approx(limit))
    assert plan.reached is not None
    assert 0.7 * limit < plan.reached <= limit
    # Each cost as it is found on what was really made, not as the plan says.
    found = {
        "macs": summary.cut.count.macs,
        "params": summary.cut.count.params,
        "channels": sum(len(units) for units in plan.keep.values()),
    }
    if cost in found:
        assert found[cost] == plan.reached
    else:
        assert weights.stat().st_size == pytest.approx(plan.reached, rel=0.2)


def test_an_impossible_budget_is_refused_before_any_work(sources: Path, tmp_path: Path) -> None:
    """The least: 2 of 16 units of the stream and 3 of 24 inside (a tenth, rounded up)."""
    least = 64 * (27 * 2 + 2 * 3 + 9 * 3 * 2) + 2 * 4
    with pytest.raises(BudgetError, match=f"smallest network, {least:,}"):
        prune(config(sources, budget="0.01x"), tmp_path / "run")
    assert not (tmp_path / "run/dense.json").exists()


def test_a_refused_run_can_be_corrected_in_the_same_folder(sources: Path, tmp_path: Path) -> None:
    with pytest.raises(BudgetError):
        prune(config(sources, budget="0.01x"), tmp_path / "run")
    assert prune(config(sources, pretrain=None, finetune=None), tmp_path / "run").outcome == "not timed"


# --- what a folder refuses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "value"), [("budget", "0.6x"), ("seed", 1), ("finetune", {**QUICK, "epochs": 2})])
def test_changed_settings_are_refused_by_name(
    bare: tuple[Path, RunSummary], sources: Path, key: str, value: object
) -> None:
    with pytest.raises(ConfigError, match=f"other settings: {key} was") as caught:
        prune(config(sources, **{key: value}), bare[0])
    assert caught.value.exit_code == 2


@pytest.mark.heavy
def test_other_weights_under_the_same_name_are_refused(sources: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes((prepared(sources) / "weights.safetensors").read_bytes())
    asked = config(sources, pretrain=None, finetune=None, weights=weights)
    prune(asked, tmp_path / "run")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ConfigError, match="weights_sha256 was"):
        prune(asked, tmp_path / "run")


@pytest.mark.parametrize(
    ("line", "other", "split"),
    [("_images(120, 1), _images(40, 2)", "_images(120, 9), _images(40, 2)", "train"),
     ("_images(40, 2), _images(40, 3)", "_images(40, 2), _images(44, 3)", "test")],
)  # fmt: skip
def test_a_run_does_not_go_on_with_other_images(tmp_path: Path, line: str, other: str, split: str) -> None:
    """The splits are stored when the run begins; what was read since must be the same."""
    sources = written(tmp_path)
    prune(config(sources), tmp_path / "run")
    stored = json.loads((tmp_path / "run/splits.json").read_text())["value"]
    assert {name: part["images"] for name, part in stored.items()} == {"train": 120, "val": 40, "test": 40}
    (tmp_path / "run/test-1.json").unlink()  # as if it had been killed before
    file = next(path for path in sources.glob("*.py") if line in path.read_text())
    file.write_text(file.read_text().replace(line, other))
    with pytest.raises(DataError, match=f"has changed since the run began: {split} had"):
        prune(config(sources), tmp_path / "run")


def prepared(sources: Path) -> Path:
    """A dense checkpoint."""
    if not (sources / "bare" / "dense").exists():
        prune(config(sources), sources / "bare")
    return sources / "bare" / "dense"


def test_a_folder_with_something_else_in_it_is_left_alone(sources: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(ConfigError, match="no run folder"):
        prune(config(sources), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


@pytest.mark.skipif(sys.platform == "win32", reason="no such lock there")
def test_a_folder_in_which_another_process_works_is_refused(bare: tuple[Path, RunSummary], sources: Path) -> None:
    import fcntl

    with (bare[0] / ".lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # another open file stands for another process
        with pytest.raises(StorageError, match="another process works in"):
            prune(config(sources), bare[0])
    assert prune(config(sources), bare[0]) == bare[1]


# --- plans by hand -------------------------------------------------------------------------------------------


def test_a_plan_by_hand_is_followed_to_the_unit(sources: Path, tmp_path: Path) -> None:
    plan = by_hand(tmp_path, {"up.0": (0, 5, 23)})
    summary = prune(config(sources, pretrain=None, finetune=None), tmp_path / "run", plan=plan)
    dense = checkpoint.load(tmp_path / "run/dense").module
    small = checkpoint.load(tmp_path / "run/cut").module
    assert torch.equal(small.up[0].weight, dense.up[0].weight[[0, 5, 23]])
    assert summary.plan.plan.reached == 64 * (27 * 16 + 16 * 3 + 9 * 3 * 16) + 64


def test_a_plan_that_was_written_out_gives_the_same_network(bare: tuple[Path, RunSummary], tmp_path: Path) -> None:
    sources = bare[0].parent
    again = prune(config(sources), tmp_path / "run", plan=bare[0] / "plan.json")
    assert again.plan.plan.keep == bare[1].plan.plan.keep
    assert weights_sha256(tmp_path / "run") == weights_sha256(bare[0])


def test_an_edit_of_the_plan_in_a_run_folder_is_not_overwritten(sources: Path, tmp_path: Path) -> None:
    run, asked = tmp_path / "run", config(sources, pretrain=None, finetune=None)
    prune(asked, run)
    edited = Plan(network="", keep={"up.0": (1, 2)})
    write_record(run / "plan.json", edited)
    prune(asked, run)
    assert read_record(run / "plan.json", Plan) == edited


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        ({"up.O": (0, 1)}, "up.O"),
        ({"up.0": (0, 24)}, "do not exist"),
        ({"up.0": (1, 1)}, "twice or in no order"),
        ({"up.0": ()}, "keeps no unit"),
        ({"head": (0, 1)}, "cannot be cut: model output"),
        ({"up.0": tuple(range(24))}, "removes nothing"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused_before_any_work(
    sources: Path, tmp_path: Path, keep: dict[str, tuple[int, ...]], said: str
) -> None:
    with pytest.raises(PlanError, match=said):
        prune(config(sources), tmp_path / "run", plan=by_hand(tmp_path, keep))
    assert not (tmp_path / "run/dense.json").exists()
