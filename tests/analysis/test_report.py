"""The report of a hand-made run is the page in golden/report.md, and each outcome is said in words.

`REWRITE=1 pytest tests/test_reporting.py` writes the golden page anew; read the difference before it is committed.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from finished import RUN, TIMES, page, slower, timed

from deploy_prune.analysis.report import report
from deploy_prune.errors import NoSpeedUp, ParityFailed, RecordError
from deploy_prune.records import write_record
from deploy_prune.results import Attempt, BenchResult, Closing, RunSummary, ShipResult
from deploy_prune.values import (
    Interval,
)

GOLDEN = Path(__file__).parent / "golden" / "report.md"


def with_pruned(**changes: object) -> RunSummary:
    row = dataclasses.replace(RUN.ship.pruned[0], **changes)  # type: ignore[arg-type]
    return dataclasses.replace(RUN, ship=dataclasses.replace(RUN.ship, pruned=(row,)))


def test_the_report_is_the_golden_page(tmp_path: Path) -> None:
    found = page(RUN, tmp_path)
    if os.environ.get("REWRITE"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(found)
    assert found == GOLDEN.read_text()


def test_a_report_needs_no_torch(tmp_path: Path) -> None:
    page(RUN, tmp_path)
    code = "import sys; sys.modules['torch'] = None; from deploy_prune.__main__ import main; main()"
    command = [sys.executable, "-c", code, "report", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, GOLDEN.read_text().strip()), done.stderr


def untimed() -> RunSummary:
    return dataclasses.replace(RUN, bench=BenchResult(()))


@pytest.mark.parametrize(
    ("summary", "outcome", "said"),
    [
        (RUN, "faster", "Verified: tflite, onnx. Faster than the dense network wherever it was timed."),
        (slower(), "no speed-up", "Verified: tflite, onnx. **Not faster** than the dense network: "),
        (untimed(), "not timed", "Verified: tflite, onnx. **Not timed**."),
        (with_pruned(status="failed", reason="no"), "not verified", "**Failed**: tflite, see the files."),
        (with_pruned(status="exported"), "faster", "**Not verified**, as nothing here runs it: tflite. Faster"),
        (
            dataclasses.replace(untimed(), ship=ShipResult((), ())),
            "not timed",
            "No format was asked for. **Not timed**.",
        ),
    ],
)
def test_an_outcome_is_said_and_nothing_is_claimed_beyond_it(
    tmp_path: Path, summary: RunSummary, outcome: str, said: str
) -> None:
    assert summary.outcome == outcome
    assert said in page(summary, tmp_path)


def test_where_one_file_of_two_is_faster_both_are_named(tmp_path: Path) -> None:
    (level,) = [item for item in RUN.speedups if item.artifact.endswith(".onnx")] or RUN.speedups[-1:]
    measured = tuple(
        dataclasses.replace(item, ratio_interval=(0.9, 1.1)) if item == level else item
        for item in RUN.bench.measurements
    )
    summary = dataclasses.replace(RUN, bench=BenchResult(measured))
    assert "**Not faster** than the dense network: pruned.onnx (1 thread). Faster: pruned.tflite (1 thread)." in page(
        summary, tmp_path
    )


def test_a_slower_file_is_called_slower(tmp_path: Path) -> None:
    assert "1.100 [1.050, 1.150] = 1.10x slower" in page(slower(), tmp_path)


def test_a_format_is_called_level_where_its_interval_reaches_1_and_has_its_own_row_per_thread_count(
    tmp_path: Path,
) -> None:
    twice = [dataclasses.replace(item, target=dataclasses.replace(item.target, threads=2)) for item in TIMES]
    said = page(dataclasses.replace(RUN, bench=BenchResult((*TIMES, *twice))), tmp_path)
    for threads in (1, 2):
        assert f"| dense | {threads} | 2.000 | 2.500, 1.250 [1.200, 1.300] = 1.25x slower |" in said
        assert f"| pruned | {threads} | 1.000 | 1.010, 1.010 [0.980, 1.040] = level |" in said


CYCLES = "simulated Cortex-A72 cycles"


def simulated() -> RunSummary:
    """The same run, timed on a simulated core, where its budget was of cycles."""
    times = [
        dataclasses.replace(item, unit=CYCLES, median=5e7 * item.median, interval=(5e7, 5e7), p90=5e7) for item in TIMES
    ]
    attempt = Attempt(aim=58.8e6, predicted=58.1e6, measured=59.2e6, interval=(59.2e6, 59.2e6), unit=CYCLES)
    target = dataclasses.replace(TIMES[0].target, device="simulated Cortex-A72")
    closing = Closing(target, 60e6, 100e6, CYCLES, (attempt,), 0)
    plan = dataclasses.replace(RUN.plan, closing=closing)
    return dataclasses.replace(RUN, plan=plan, bench=BenchResult(tuple(times)))


def test_a_budget_of_cycles_is_reported_in_cycles_and_nothing_is_called_milliseconds(tmp_path: Path) -> None:
    said = page(simulated(), tmp_path)
    assert f"Figures in {CYCLES} on simulated Cortex-A72" in said and f"Met: 60M {CYCLES}." in said
    assert f"| file | aimed at, {CYCLES} | predicted {CYCLES} | measured {CYCLES} |" in said
    assert "| plan 1, taken | 58.800M | 58.100M | 59.200M [59.200M, 59.200M] |" in said
    assert "| dense | 1 | 100.000M | 125.000M, 1.250 [1.200, 1.300] = 1.25x slower |" in said
    assert " ms" not in said and "illiseconds" not in said


def test_one_format_alone_has_no_table_of_formats(tmp_path: Path) -> None:
    said = page(dataclasses.replace(RUN, bench=BenchResult(TIMES[:2])), tmp_path)
    assert "Formats of one network" not in said
    assert "\n\n\n" not in said


def test_networks_are_level_where_the_interval_reaches_1(tmp_path: Path) -> None:
    even = dataclasses.replace(RUN, bench=BenchResult((TIMES[0], timed("pruned", 1.9, 0.95, (0.9, 1.01)))))
    assert "0.950 [0.900, 1.010] = level" in page(even, tmp_path)


@pytest.mark.parametrize(
    ("interval", "outcome"), [((0.8, 0.99), "faster"), ((0.9, 1.0), "no speed-up"), (None, "no speed-up")]
)
def test_faster_is_claimed_only_where_the_whole_interval_is(
    interval: Interval | None, outcome: Literal["faster", "no speed-up"]
) -> None:
    assert dataclasses.replace(RUN, bench=BenchResult((timed("pruned", 1.8, 0.9, interval),))).outcome == outcome


def test_the_verdict_is_the_error_of_the_outcome() -> None:
    from deploy_prune.pipeline.run import judge

    for good in (RUN, untimed(), with_pruned(status="exported")):
        judge(good)
    with pytest.raises(ParityFailed, match="tflite: differs") as failed:
        judge(with_pruned(status="failed", reason="differs"))
    with pytest.raises(NoSpeedUp, match=r"pruned\.tflite \(1 thread\)") as slow:
        judge(slower())
    assert (failed.value.exit_code, slow.value.exit_code) == (4, 6)


def test_a_recount_that_differs_is_said_with_the_cause(tmp_path: Path) -> None:
    why = "fvcore counts 10,000 less: it leaves out fused attention"
    summary = dataclasses.replace(RUN, cut=dataclasses.replace(RUN.cut, predicted_macs=410_000, difference=why))
    assert f"410,000 predicted, the same by the trace's recount ({why})" in page(summary, tmp_path)


def test_a_rescaling_is_said_with_its_line(tmp_path: Path) -> None:
    cut = dataclasses.replace(RUN.cut, rescalings=("aten.mul.Tensor at nets/mine.py:7",))
    text = page(dataclasses.replace(RUN, cut=cut), tmp_path)
    assert "number that follows the widths, which may be meant: aten.mul.Tensor at nets/mine.py:7" in text


def test_a_run_that_is_not_finished_has_no_report(tmp_path: Path) -> None:
    write_record(tmp_path / "run.json", {"model": "net", "data": "digits"}, dict)
    with pytest.raises(RecordError, match=r"summary\.json does not exist"):
        report(tmp_path)
