"""A front's networks as rows of a table, and its report in Markdown."""

from __future__ import annotations

from pathlib import Path

from deploy_prune import stats
from deploy_prune.analysis.report_times import write_table
from deploy_prune.legible import spell_controls
from deploy_prune.records import read_record
from deploy_prune.search_results import FRONT, Front, FrontPoint

KINDS = {"dense": "dense", "pruned": "pruned", "uniform": "uniform widths", "smaller": "dense on smaller images"}
"""Kind of a front's point -> what readers are told."""


def is_front(folder: Path) -> bool:
    """Whether a folder is that of a finished front."""
    return (folder / FRONT).is_file()


def report_front(folder: Path) -> str:
    """The report of a finished front.

    Raises:
        RecordError: its record is damaged.
    """
    front = read_record(folder / FRONT, Front)
    head = f"# {front.model} on {front.data}, {front.method}"
    note = f"{front.quality}; intervals are 95 %, ratios are to the dense network's file. Each folder has a report."
    table = write_table(name_point_columns(front), list_point_rows(front))
    return spell_controls("\n\n".join((head, table, note))) + "\n"


def name_point_columns(front: Front) -> tuple[str, ...]:
    """The head of the table of its points."""
    return ("network", "budget", "on test", "on validation", "time / dense", front.unit, "MACs", "parameters", "folder")


def list_point_rows(front: Front) -> list[tuple[str, ...]]:
    """A row per network, under `name_point_columns`."""
    return [_make_row(point) for point in front.points]


def _make_row(point: FrontPoint) -> tuple[str, ...]:
    ratio, spread = point.interval, point.latency_interval_ms
    return (
        KINDS[point.kind],
        point.budget,
        stats.write_percent_with_interval(point.test, point.test_interval),
        stats.write_percent(point.val),
        "" if point.ratio is None or ratio is None else stats.write_with_interval(point.ratio, ratio),
        "" if point.latency_ms is None or spread is None else stats.write_with_interval(point.latency_ms, spread),
        f"{point.macs:,}",
        f"{point.params:,}",
        point.run,
    )
