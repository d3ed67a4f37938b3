"""A run folder that the last version without schema 2 wrote is still read, reported on, loaded and gone on with.

The folder is a real one, of a network trained for one epoch; of its raw samples and its checkpoints most were left out.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from deploy_prune import results
from deploy_prune.analysis.report import report
from deploy_prune.errors import ConfigError
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.pipeline.run import describe_asked, judge
from deploy_prune.records import read_record
from deploy_prune.run_folder import open_run, read_asked
from deploy_prune.sources import checkpoint
from deploy_prune.values import Plan

RUN = Path(__file__).parents[1] / "golden" / "run_schema_1"
RECORDS: dict[str, type[Any]] = {
    "dense": results.DenseResult,
    "planning": results.PlanResult,
    "plan": Plan,
    "cut": results.CutResult,
    "trained-1": results.TrainResult,
    "test-1": results.TestResult,
    "shipped-1": results.ShipResult,
    "timed-1": results.BenchResult,
    "summary": results.RunSummary,
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A copy of the folder."""
    return Path(shutil.copytree(RUN, tmp_path / "run"))


@pytest.mark.parametrize("name", RECORDS)
def test_every_record_reads_as_what_it_is_today(name: str) -> None:
    assert isinstance(read_record(RUN / f"{name}.json", RECORDS[name]), RECORDS[name])


def test_its_figures_are_those_that_its_own_report_tells() -> None:
    summary = read_record(RUN / "summary.json", results.RunSummary)
    reported = (RUN / "report.md").read_text()
    assert f"{summary.cut.count.macs:,}" in reported
    assert f"{summary.cut.count.macs:,}" in report(RUN)
    ratios = [item.ratio for item in summary.bench.measurements if item.ratio is not None]
    assert ratios
    assert all(f"{ratio:.3f}" in reported and f"{ratio:.3f}" in report(RUN) for ratio in ratios)
    judge(summary)  # it was faster, and it is


def test_its_network_is_loaded(run: Path) -> None:
    network = checkpoint.load(run)
    with torch.no_grad():
        assert network.module(torch.zeros(1, *network.input_shape)).shape == (1, 10)


def test_the_same_settings_go_on_with_it(run: Path) -> None:
    """Settings that it does not know are taken as they are by default; the refit, which it was made without, is not."""
    asked = read_asked(run)
    known = {key: asked[key] for key in RunConfig.model_fields if key in asked}
    config = RunConfig.model_validate({**known, "refit": False})
    assert config.budget == "0.5x"
    with (
        pytest.raises(ConfigError, match="refit was False, now True"),
        open_run(run, describe_asked(RunConfig(**known))),
    ):
        pass

    with open_run(run, describe_asked(config)) as folder:
        assert folder.path == run
