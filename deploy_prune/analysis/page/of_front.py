"""A front as a page: all its networks in one figure, then each run by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from deploy_prune import stats
from deploy_prune.analysis.page.charts import draw_front, draw_widths
from deploy_prune.analysis.page.of_run import describe_asked
from deploy_prune.analysis.page.sections import Card, Page, Section, Table
from deploy_prune.analysis.report import FILE_HEAD, SUMMARY, list_file_rows
from deploy_prune.analysis.report_front import KINDS, list_point_rows, name_point_columns
from deploy_prune.records import read_record
from deploy_prune.results import RunSummary
from deploy_prune.run_folder import read_asked
from deploy_prune.search_results import FRONT, Front

NAMED = 6
"""How many groups a hint names: those that lost most."""


def describe_front(folder: Path) -> Page:
    """The page of a finished front.

    Raises:
        RecordError: not a front's folder, or its records are damaged.
    """
    front = read_record(folder / FRONT, Front)
    asked = read_asked(folder)
    summaries = {point.run: read_record(folder / point.run / SUMMARY, RunSummary)
                 for point in front.points if point.kind in ("pruned", "uniform")}  # fmt: skip
    best = [point for point in front.points if point.kind == "pruned"]
    cards = tuple(
        Card(point.budget, stats.write_percent(point.test), "not timed" if point.ratio is None else
             f"{point.ratio:.3f} of the dense network's time")
        for point in best
    )  # fmt: skip
    verdict = f"{len(best)} budgets by {front.method}, cut from one ranking."
    sections = (*_list_sections(front, summaries), describe_asked(folder, asked, [point.budget for point in best]))
    title = f"{front.model} on {front.data}, {front.method}"
    return Page(title, verdict, cards, sections)


def _list_sections(front: Front, summaries: dict[str, RunSummary]) -> Iterator[Section]:
    hints = {run: _hint(summary) for run, summary in summaries.items()}
    timed = any(point.ratio is not None for point in front.points)
    charts = (draw_front(front, hints),) if timed else ()
    yield Section("Front", f"{front.quality} with 95 % intervals; ratios are to the dense network's file.", charts,
                  (Table.of(name_point_columns(front), list_point_rows(front)),))  # fmt: skip
    for point in front.points[1:]:  # the dense network is named with the first run
        if summary := summaries.get(point.run):
            changed = [row for row in summary.plan.groups if row.kept < row.width]
            drawn = (replace(draw_widths(changed), name=f"widths-{point.run}"),) if point.kind == "pruned" else ()
            verified = Table.of(FILE_HEAD, list_file_rows(summary))
            yield Section(f"{KINDS[point.kind]}, {point.budget}", hints[point.run], drawn, (verified,))


def _hint(summary: RunSummary) -> str:
    """The plan in a line: the groups that lost the largest share."""
    cut = sorted((row for row in summary.plan.groups if row.kept < row.width), key=lambda row: row.kept / row.width)
    named = ", ".join(f"{row.name} {row.kept}/{row.width}" for row in cut[:NAMED])
    more = f", {len(cut) - NAMED} more" if len(cut) > NAMED else ""
    return f"{len(cut)} of {len(summary.plan.groups)} groups cut: {named}{more}" if cut else "nothing was cut"
