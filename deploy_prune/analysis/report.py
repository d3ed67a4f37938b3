"""A run's records as one page of Markdown; reads JSON alone, so it works where no torch is."""

from __future__ import annotations

from pathlib import Path

from deploy_prune import stats
from deploy_prune.analysis.report_curves import write_curves
from deploy_prune.analysis.report_refit import write_refit
from deploy_prune.analysis.report_times import write_formats, write_speed, write_table, write_times
from deploy_prune.analysis.report_unlabelled import list_errors, write_judgement
from deploy_prune.analysis.skipped_images import write_skipped_images
from deploy_prune.legible import spell_controls
from deploy_prune.records import read_record
from deploy_prune.results import CutResult, RunSummary, TrainResult
from deploy_prune.run_folder import read_asked
from deploy_prune.search_results import SEARCH, SearchRecord
from deploy_prune.timing.devices import MILLISECONDS
from deploy_prune.values import Count, Interval, Quality, Shipment

SUMMARY = "summary.json"
REPORT = "report.md"
NETWORK_HEAD = ("", "dense", "pruned", "change")
FILE_HEAD = ("format", "network", "status", "size", "max error", "same top-1", "why")
WIDTH_HEAD = ("group", "channels", "kept", "locked because")


def report(run: Path | str) -> str:
    """The page of a finished run.

    Raises:
        RecordError: not a run folder, or its records are damaged or not there yet.
    """
    run = Path(run)
    asked = read_asked(run)
    summary = read_record(run / SUMMARY, RunSummary)
    parts = [
        f"# {asked.get('model')} on {asked.get('data')}, {summary.plan.plan.budget}",
        write_outcome(summary),
        f"**{summary.dense.caution}**" if summary.dense.caution else "",
        _write_budget(summary),
        _write_milliseconds(summary),
        _write_search(run),
        "## Network",
        _write_network(summary),
        write_refit(summary.cut.refit),
        write_skipped_images(run),
        "## Files",
        write_table(FILE_HEAD, list_file_rows(summary)),
        "## Time",
        write_times(summary.bench.measurements),
        write_formats(summary.bench.measurements),
        "## Widths",
        write_table(WIDTH_HEAD, list_width_rows(summary)),
        write_curves(summary.plan),
    ]
    return spell_controls("\n\n".join(part for part in parts if part)) + "\n"


def write_outcome(summary: RunSummary) -> str:
    """Which files are verified, and where they are faster, in a line of Markdown."""
    formats = {
        status: ", ".join(row.format for row in summary.ship.pruned if row.status == status)
        for status in ("verified", "exported", "failed")
    }
    parts = [
        f"Verified: {formats['verified']}." if formats["verified"] else "",
        f"**Not verified**, as nothing here runs it: {formats['exported']}." if formats["exported"] else "",
        f"**Failed**: {formats['failed']}, see the files." if formats["failed"] else "",
        "" if summary.ship.pruned else "No format was asked for.",
        write_speed(summary),
    ]
    return " ".join(part for part in parts if part)


def _write_budget(summary: RunSummary) -> str:
    plan = summary.plan.plan
    if plan.reached is None or plan.dense is None:
        return f"Budget: {plan.budget}."
    asked = "" if plan.asked is None else f"asked {_format_amount(plan.asked)}, "
    return (
        f"Budget {plan.budget} ({plan.cost}, by {summary.plan.method}): {asked}reached {_format_amount(plan.reached)} "
        f"({plan.reached / plan.dense:.3f}x of {_format_amount(plan.dense)}). {_write_prediction(summary)}"
    )


def _format_amount(value: float) -> str:
    """Whole numbers and what is counted as they are, small ones (milliseconds) with their digits."""
    return f"{value:,.3f}" if value < 1000 and value != int(value) else f"{value:,.0f}"


def _write_milliseconds(summary: RunSummary) -> str:
    """How a budget in milliseconds was met; empty: the budget is of something else."""
    closing = summary.plan.closing
    if closing is None:
        return ""
    rows = [
        (f"plan {number}{', taken' * (number - 1 == closing.chosen)}", stats.write_amount(each.aim),
         stats.write_amount(each.predicted), stats.write_with_interval(each.measured, each.interval))
        for number, each in enumerate(closing.attempts, start=1)
    ]  # fmt: skip
    predicted = closing.attempts[closing.chosen].predicted
    shipped = summary.shipped_time
    took = stats.write_with_interval(*shipped) if shipped else "not timed"
    rows.append(("**shipped**", "", stats.write_amount(predicted), took))
    table = write_table(
        ("file", f"aimed at, {closing.unit}", f"predicted {closing.unit}", f"measured {closing.unit}"), rows
    )
    said = (
        f"**Missed by {summary.missed_by:.1%}**"
        if summary.missed_by
        else "Met"
        if shipped
        else "Not timed after training"
    )
    target, reference = closing.target, stats.write_amount(closing.reference)
    figures = "Milliseconds" if closing.unit == MILLISECONDS else f"Figures in {closing.unit}"
    return (
        f"{figures} on {target.device}, {target.runtime} {target.runtime_version}, {target.threads} threads "
        f"(the dense network stands for {reference} {closing.unit} there). {said}: "
        f"{stats.write_briefly(closing.limit)} {closing.unit}. What is measured here is scaled: the file's time / the "
        f"dense file's, in turns, times {reference}; the times of the last session, under Time, are as they were taken."
        f"\n\n{table}"
    )


def _write_search(run: Path) -> str:
    """What a search came to; empty: the method does not search."""
    if not (run / SEARCH).exists():
        return ""
    search = read_record(run / SEARCH, SearchRecord)
    if search.best is None:
        return ""
    losses = {kind: [each.loss for each in search.tried if each.origin == kind and each.loss is not None]
              for kind in ("random", "identity")}  # fmt: skip
    rivals = ", ".join(f"best {kind} {min(values):.4f}" for kind, values in losses.items() if values)
    best = search.tried[search.best]
    plans = len({each.plan for each in search.tried})
    by = f"Best of {len(search.finals)} finalists" if search.finals else "Best"
    return (
        f"Search: {len(search.tried)} candidates, {plans} plans, {search.ended}. {by}: candidate {best.number} "
        f"({best.origin}), validation loss {best.loss:.4f}; {rivals}. Every candidate: `{SEARCH}`."
    )


def _write_prediction(summary: RunSummary) -> str:
    predicted, counted = summary.cut.predicted_macs, summary.cut.count
    text = f"MACs of the cut network: {predicted:,} predicted"
    text += f", the same by {'fvcore' if predicted == counted.macs else 'the trace'}'s recount"
    if predicted != counted.macs:
        text += f" ({summary.cut.difference or f'fvcore counts {counted.macs:,}'})"
    return f"{text}. {_write_law(summary.cut)}".strip()


def _write_law(cut: CutResult) -> str:
    """What was checked of the cut, and what follows the widths."""
    law = (
        ""
        if cut.law_error is None
        else (
            "On random images it computes what the dense network computes with the removed channels at zero "
            f"(largest difference / largest output: {cut.law_error:.0e}). "
        )
    )
    scaled = "".join(
        f"Multiplied by a number that follows the widths, which may be meant: {line}. " for line in cut.rescalings
    )
    return (law + scaled).strip()


def list_network_rows(summary: RunSummary) -> list[tuple[str, ...]]:
    """What was counted and judged of both networks, under `NETWORK_HEAD`; in Markdown."""
    dense, cut, test = summary.dense, summary.cut, summary.test
    change = format_points(test.difference, test.interval)
    return [
        ("MACs (fvcore counts a multiply-add as 1)", *_make_row(dense.count, cut.count, "macs")),
        *_list_kernels(summary),
        ("fvcore total with norms", *_make_row(dense.count, cut.count, "fvcore_total")),
        ("parameters", *_make_row(dense.count, cut.count, "params")),
        (f"{dense.val.name} on validation, after the cut", _format_quality(dense.val), _format_quality(cut.val), ""),
        _write_mending(cut),
        _write_training(summary.trained),
        (f"**{test.dense.name} on test, once**", _format_quality(test.dense), _format_quality(test.pruned), change),
        *list_errors(summary),
    ]


def _write_network(summary: RunSummary) -> str:
    dense = summary.dense
    table = write_table(NETWORK_HEAD, list_network_rows(summary))
    where = " and ".join(dict.fromkeys((dense.accelerator, summary.trained.accelerator)))
    intervals = "Intervals are 95 %; the change on test is paired by image."
    told = f"{table}\n\nDense weights: {dense.weights}. Trained and judged on {where}. {intervals}"
    return "\n\n".join(part for part in (told, write_judgement(summary)) if part)


def _write_mending(cut: CutResult) -> tuple[str, str, str, str]:
    """The row of what was done without training."""
    if cut.refit is not None and cut.refit.val is not None:
        return f"the same, {cut.refit.chosen}", "", _format_quality(cut.refit.val), ""
    again = cut.val_recalibrated
    return "the same, norms estimated anew", "", _format_quality(again) if again else "not done", ""


def _list_kernels(summary: RunSummary) -> list[tuple[str, str, str, str]]:
    """A row where single kernels were removed."""
    left, dense = summary.cut.kernel_macs, summary.dense.count.macs
    if left is None:
        return []
    label = "theoretical MACs without removed kernels (no runtime here skips them: not in any time)"
    return [(label, f"{dense:,}", f"{left:,}", f"{left / dense:.3f}x")]


def _write_training(trained: TrainResult) -> tuple[str, str, str, str]:
    """The row of what training has made of it, and whether that is what goes on."""
    epochs, given_up = trained.epochs, trained.given_up
    text = f"the same, after {epochs} epoch{'s' * (epochs != 1)} of fine-tuning" if epochs else "the same, as shipped"
    if given_up is None:
        return text, "", _format_quality(trained.val), ""
    return f"{text} (**not shipped**: the refitted network is better)", "", _format_quality(given_up), ""


def _make_row(before: Count, after: Count, field: str) -> tuple[str, str, str]:
    old, new = vars(before)[field], vars(after)[field]
    return f"{old:,}", f"{new:,}", f"{new / old:.3f}x"


def _format_quality(quality: Quality) -> str:
    return stats.write_percent_with_interval(quality.value, quality.interval)


def format_points(difference: float, interval: Interval) -> str:
    """Write a paired difference: `-0.45 points [-1.20, +0.31]`."""
    return f"{100 * difference:+.2f} points [{100 * interval[0]:+.2f}, {100 * interval[1]:+.2f}]"


def list_file_rows(summary: RunSummary) -> list[tuple[str, ...]]:
    """A row per format and network, under `FILE_HEAD`."""
    labelled = [("dense", row) for row in summary.ship.dense] + [("pruned", row) for row in summary.ship.pruned]
    return sorted((row.format, which, row.status, *_make_file_row(row)) for which, row in labelled)


def _make_file_row(row: Shipment) -> tuple[str, str, str, str]:
    size = f"{row.artifact.size_bytes / 1e6:.3f} MB" if row.artifact else ""
    if row.parity is None:
        return size, "", "", row.reason
    return size, f"{row.parity.max_error:.1e}", row.parity.answers, row.reason


def list_width_rows(summary: RunSummary) -> list[tuple[str, ...]]:
    """A row per group, under `WIDTH_HEAD`."""
    return [
        (row.name, str(row.width * row.channels_per_unit), str(row.kept * row.channels_per_unit), row.locked or "")
        for row in summary.plan.groups
    ]
