"""Values of schema 1 are recognised by their keys wherever they stand, and nothing else is touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy_prune.budget.latency.table import Profile
from deploy_prune.records import read_record
from deploy_prune.results import Attempt, BenchResult, RunSummary, ShipResult, WidthsResult
from deploy_prune.schema_1 import Rule, rename, upgrade
from deploy_prune.search_results import DropSearch, Front, SearchRecord

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
TARGET = {"device": "local", "runtime": "litert", "runtime_version": "2.1", "threads": 1, "precision": "fp32"}
BRACKET = {"before_ms": [5.0, 2.0], "candidate_ms": [6.0, 9.0], "after_ms": [4.0, 8.0]}
QUIET = {"load": 0.1, "frequency_mhz": None, "governor": None, "temperature_c": None, "affinity": [0]}
MEASUREMENT = {
    "artifact": "a.tflite", "target": TARGET, "session": "s", "blocks_ms": [[1.0, 1.2]], "median_ms": 1.1,
    "interval_ms": [1.0, 1.2], "p90_ms": 1.2, "load_ms": 3.0, "peak_memory_bytes": 2, "runtime_memory_bytes": 1,
    "before": QUIET, "after": QUIET, "ratio": 2.0, "ratio_interval": [1.9, 2.1], "format_base": None,
    "format_ratio": None, "format_ratio_interval": None, "brackets": [BRACKET], "repeated": 0,
}  # fmt: skip
CLOSING = {
    "target": TARGET, "limit_ms": 4.0, "reference_ms": 8.0, "chosen": 0,
    "attempts": [{"aim_ms": 3.9, "predicted_ms": 3.8, "measured_ms": 4.1, "interval_ms": [4.0, 4.2]}],
}  # fmt: skip
COMPARISON = {"ratio": 0.5, "interval": [0.4, 0.6], "reference_ms": 8.0, "brackets": [BRACKET], "repeated": 1}
PROFILE = {
    "network": "f00", "address": "tests:net", "target": TARGET, "reference_ms": 8.0,
    "drawing": {"format": "tflite", "groups": [], "lines": [], "operators": []},
    "samples": [{"widths": [3], "ratio": 0.5, "interval": [0.4, 0.6], "operator": -1, "input_shape": [],
                 "comparison": COMPARISON}],
    "complete": True,
}  # fmt: skip
GOLDEN = Path(__file__).parent / "golden"
"""A run folder that a version of schema 1 wrote; a search, a front, and a search for the largest cut within a drop."""
RULES = (Rule(frozenset({"old_ms", "runs"}), rename({"old_ms": "new"}, unit="ms")),)


def test_a_value_is_renewed_wherever_it_stands() -> None:
    before = {"rows": [{"old_ms": 1.5, "runs": 2}], "old_ms": 3}
    assert upgrade(before, RULES) == {"rows": [{"new": 1.5, "runs": 2, "unit": "ms"}], "old_ms": 3}
    assert before == {"rows": [{"old_ms": 1.5, "runs": 2}], "old_ms": 3}


def test_inner_values_are_renewed_first() -> None:
    outer = {"old_ms": {"old_ms": 1, "runs": 1}, "runs": 1}
    assert upgrade(outer, RULES) == {"new": {"new": 1, "runs": 1, "unit": "ms"}, "runs": 1, "unit": "ms"}


def test_an_exported_file_of_schema_1_says_its_network_by_its_name_and_what_runs_it(tmp_path: Path) -> None:
    def row(name: str, form: str) -> dict[str, object]:
        artifact = {
            "path": f"runs/a/export-1/{name}", "format": form, "size_bytes": 1, "sha256": "0",
            "input_shape": [3, 32, 32], "layout": "nchw", "dynamic_batch": False, "precision": "fp32",
            "exporter": "torch.onnx 2", "seconds": 1.5, "input": "float", "baked": False, "softmax": False,
        }  # fmt: skip
        return {"format": form, "status": "exported", "artifact": artifact, "parity": None, "reason": "not verified"}

    value = {
        "dense": [row("dense.onnx", "onnx"), row("dense.tflite", "tflite")],
        "pruned": [row("pruned.onnx", "onnx"), row("pruned.tflite", "tflite")],
    }
    (tmp_path / "shipped.json").write_text(json.dumps({"schema": 1, "kind": "ShipResult", "value": value}))
    shipped = read_record(tmp_path / "shipped.json", ShipResult)
    files = [row.artifact for row in (*shipped.dense, *shipped.pruned) if row.artifact]
    assert [file.runtime for file in files] == ["onnxruntime", "litert"] * 2
    assert files[0].network == files[1].network != files[2].network == files[3].network
    assert (files[0].needs, files[0].seconds) == ({}, 1.5)


def test_a_record_is_read_under_the_name_that_its_class_had(tmp_path: Path) -> None:
    document = {"schema": 1, "kind": "Search", "value": {"identity": "abc"}}
    (tmp_path / "search.json").write_text(json.dumps(document))
    assert read_record(tmp_path / "search.json", SearchRecord) == SearchRecord("abc")


@pytest.fixture
def recorded(tmp_path: Path):
    """Reads a value of schema 1 as a record of a kind."""

    def read(kind: type, value: object):
        document = {"schema": 1, "kind": kind.__name__, "value": value}
        (tmp_path / "record.json").write_text(json.dumps(document))
        return read_record(tmp_path / "record.json", kind)

    return read


def test_a_measurement_of_schema_1_is_in_milliseconds(recorded) -> None:
    (found,) = recorded(BenchResult, {"measurements": [MEASUREMENT]}).measurements
    assert (found.unit, found.blocks, found.median, found.interval, found.p90) == (
        "ms", ((1.0, 1.2),), 1.1, (1.0, 1.2), 1.2,
    )  # fmt: skip
    assert found.load_ms == 3.0
    (bracket,) = found.brackets
    assert (bracket.unit, bracket.before, bracket.candidate, bracket.reference) == ("ms", (5.0, 2.0), (6.0, 9.0), 3.0)


def test_a_budget_met_on_the_real_file_of_schema_1_reads(recorded) -> None:
    found = recorded(WidthsResult, {"widths": {"a": 3}, "locked": {}, "closing": CLOSING}).closing
    assert (found.limit, found.reference, found.unit, found.target.device) == (4.0, 8.0, "ms", "local")
    assert found.attempts == (Attempt(3.9, 3.8, 4.1, (4.0, 4.2), "ms"),)


def test_a_latency_table_of_schema_1_reads(recorded) -> None:
    found = recorded(Profile, PROFILE)
    assert (found.reference, found.unit) == (8.0, "ms")
    comparison = found.samples[0].comparison
    assert (comparison.reference, comparison.unit, comparison.brackets[0].unit) == (8.0, "ms", "ms")


def test_attempts_that_were_published_with_schema_1_read() -> None:
    rows = json.loads((RESULTS / "shipped_budgets.json").read_text())["rows"]
    attempts = [Attempt(**each) for row in upgrade(rows) for each in row["attempts"]]
    assert len(attempts) >= len(rows) > 5
    assert all(each.unit == "ms" and each.interval[0] <= each.measured <= each.interval[1] for each in attempts)


def test_an_accuracy_of_before_is_a_quality() -> None:
    summary = read_record(GOLDEN / "run_schema_1" / "summary.json", RunSummary)
    pruned = summary.test.pruned
    assert (pruned.name, pruned.value, pruned.items) == ("top-1", 0.12249443207126949, 449)
    assert (len(pruned.per_item), sum(pruned.per_item)) == (449, 55.0)
    assert pruned.of_hits
    assert summary.cut.val_recalibrated is not None
    assert summary.cut.val_recalibrated.name == "top-1"


def test_a_front_of_before_says_what_its_values_are() -> None:
    front = read_record(GOLDEN / "schema_1" / "front.json", Front)
    assert front.quality == "top-1"
    assert [(point.test, point.val) for point in front.points] == [(0.25, 0.25), (0.35, 0.425), (0.45, 0.5)]


def test_searches_of_before_are_read() -> None:
    assert read_record(GOLDEN / "schema_1" / "drop.json", DropSearch).quality == "top-1"
    assert all(0 <= each.value <= 1 for each in read_record(GOLDEN / "schema_1" / "search.json", SearchRecord).tried)
