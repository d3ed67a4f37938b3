"""Widths by one method, units by another that scores: in a run, in a front, by a plan and by the scores of before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tinyrun import config

from deploy_prune.graph import trace
from deploy_prune.pipeline.front import front
from deploy_prune.pipeline.run import prune
from deploy_prune.results import RunSummary
from deploy_prune.run_folder import read_asked
from deploy_prune.scoring.best_scored import SELECTING
from deploy_prune.scoring.scores_file import read_scores
from deploy_prune.scoring.top_units import best_units
from deploy_prune.sources import checkpoint


@pytest.fixture(scope="module")
def scored(sources: Path) -> tuple[Path, RunSummary]:
    """The run of magnitude alone."""
    return sources / "magnitude", prune(config(sources, method="magnitude"), sources / "magnitude")


def widths(summary: RunSummary) -> dict[str, int]:
    return {row.name: row.kept for row in summary.plan.groups}


OBS: dict[str, Any] = {"select": "obs", "select_options": {"images": 32}}


@pytest.mark.heavy
def test_widths_are_of_one_method_and_units_of_another(
    sources: Path, tmp_path: Path, scored: tuple[Path, RunSummary]
) -> None:
    """The widths are magnitude's, then those of its plan; the third run selects by the scores of the first."""
    run = tmp_path / "run"
    summary = prune(config(sources, method="magnitude", **OBS), run)
    assert widths(summary) == widths(scored[1])
    assert summary.plan.plan.keep != scored[1].plan.plan.keep
    assert summary.plan.method == "obs at widths of 'magnitude'"
    units = summary.plan.plan.keep
    assert units == best_units(read_scores(run / SELECTING, trace(checkpoint.load(run / "dense"))), widths_of(units))

    plan = scored[0] / "plan.json"
    again = prune(config(sources, **OBS), tmp_path / "by-hand", plan=plan)
    assert again.plan.plan.keep == summary.plan.plan.keep
    assert again.plan.method == f"obs at widths of {plan}"
    third = prune(config(sources, method="magnitude", select=str(run)), tmp_path / "by-scores")
    assert third.plan.plan.keep == summary.plan.plan.keep


def widths_of(keep: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    return {name: len(units) for name, units in keep.items()}


@pytest.mark.heavy
def test_the_runs_of_a_front_select_by_scores_that_were_found_once(sources: Path, tmp_path: Path) -> None:
    front(config(sources, method="magnitude", **OBS), ("0.8x", "0.5x"), tmp_path / "front", controls=False)
    for run in ("0.8x", "0.5x"):
        assert read_asked(tmp_path / "front" / run)["select"] == str(tmp_path / "front" / SELECTING)
