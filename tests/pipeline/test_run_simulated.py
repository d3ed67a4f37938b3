"""Whole runs on simulated cores: budgets in cycles, one search for two cores, and no figure is called milliseconds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from simulated import needs_simulator

from deploy_prune import __main__
from deploy_prune.records import read_record
from deploy_prune.results import BenchResult, PlanResult, ShipResult
from deploy_prune.search_results import FRONT, Front

pytestmark = [pytest.mark.slow, needs_simulator]

A72, A76 = "sim://cortex-a72", "sim://cortex-a76"
SMALL = ("--input-shape", "3,16,16")
MILLISECONDS = re.compile(r"\bms\b|millisecond", re.IGNORECASE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("simulated")


def prune(folder: Path, out: str, *flags: str) -> int:
    return __main__.run(["prune", "resnet20", "--data", "digits", "--epochs", "1", "--target", "tflite", *SMALL,
                         "--store", str(folder / "store"), "--out", str(folder / out), *flags])  # fmt: skip


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """Profiled, planned on the real file, cut, verified and counted on a Cortex-A72."""
    assert prune(folder, "a72", "--budget", "latency=0.5x", "--method", "magnitude", "--device", A72) == 0
    return folder / "a72"


def test_a_run_is_planned_and_counted_in_cycles(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    closing = read_record(run / "planning.json", PlanResult).closing
    assert closing is not None and closing.unit == "simulated Cortex-A72 cycles"
    assert closing.limit == pytest.approx(0.5 * closing.reference, rel=0.03)
    dense, pruned = read_record(run / "timed-1.json", BenchResult).measurements
    assert dense.unit == closing.unit and pruned.ratio is not None
    assert pruned.ratio * closing.reference == pytest.approx(closing.attempts[closing.chosen].measured, rel=1e-3)
    assert __main__.run(["report", str(run)]) == 0
    said = capsys.readouterr().out
    assert "measured simulated Cortex-A72 cycles" in said and not MILLISECONDS.search(said)


def test_its_files_were_verified_on_the_core(run: Path) -> None:
    shipped = read_record(run / "shipped-1.json", ShipResult)
    for row in (*shipped.dense, *shipped.pruned):
        assert row.status == "verified" and row.there is not None and row.there.passed


def test_it_is_explained_in_cycles(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.run(["explain", str(run), "--device", A72]) == 0
    said = capsys.readouterr().out
    assert "cycles lost" in said and "without a time" in said and not MILLISECONDS.search(said)


def test_one_ranking_is_cut_again_for_another_core_to_an_amount_of_its_cycles(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert __main__.run(["plan", "resnet20", "--device", A76, "--store", str(folder / "store"), "--json",
                         *SMALL, "--budget", "0.6x"]) == 0  # fmt: skip
    (option,) = json.loads(capsys.readouterr().out)["outlook"]["options"]
    budget = f"{option['predicted_ms'] / 1e6:.3f}Mcycles"
    assert prune(folder, "a76", "--budget", budget, "--scores", str(run), "--device", A76) == 0
    planned = read_record(folder / "a76" / "planning.json", PlanResult)
    assert planned.closing is not None and planned.closing.unit == "simulated Cortex-A76 cycles"
    assert planned.closing.attempts[planned.closing.chosen].measured <= 1.01 * planned.closing.limit
    assert str(run) in planned.method


def test_files_are_verified_there_by_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["export", "resnet20", *SMALL, "--target", "tflite,onnx", "--verify", "--device", A72]
    assert __main__.run([*command, "--out", str(tmp_path), "--json"]) == 0
    shipments = json.loads(capsys.readouterr().out)["shipments"]
    assert [row["there"]["passed"] for row in shipments] == [True, True]


def test_a_front_is_in_cycles(run: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prune(folder, "front", "--budget", "latency=0.6x,latency=0.5x", "--scores", str(run), "--no-controls",
                 "--device", A72) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert "simulated Cortex-A72 cycles [95 %]" in said and not MILLISECONDS.search(said)
    front = read_record(folder / "front" / FRONT, Front)
    dense, *pruned = front.points
    assert front.unit == "simulated Cortex-A72 cycles" and dense.latency_ms
    assert [point.latency_ms for point in pruned] == [pytest.approx(point.ratio * dense.latency_ms) for point in pruned]
