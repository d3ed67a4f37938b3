"""What the groups of a run lose and save at their widths, where its scores add up: as tables, and drawn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from deploy_prune.analysis.plots import Line, Plot, check_suffix, save
from deploy_prune.analysis.report_times import write_table
from deploy_prune.errors import ConfigError
from deploy_prune.records import read_record
from deploy_prune.results import PlanResult
from deploy_prune.values import GroupCurve, GroupRow

PLANNING = "planning.json"
LEVELS = (0.01, 0.03, 0.1)
"""Errors whose widths are named."""


def read_planning(run: Path) -> PlanResult | None:
    """What a run has planned; None: nothing yet.

    Raises:
        RecordError: the record is damaged.
    """
    return read_record(run / PLANNING, PlanResult) if (run / PLANNING).is_file() else None


def write_curves(plan: PlanResult) -> str:
    """The section of a report; empty where scores do not add up."""
    if not plan.curves:
        return ""
    return "\n\n".join(("## Curves", write_table(list_columns(plan), list_rows(plan)), explain_columns(plan)))


def list_columns(plan: PlanResult) -> tuple[str, ...]:
    """The head of the table; of a plan with curves."""
    reaching = (f"error {level:g} at" for level in LEVELS)
    return (
        "group",
        "channels",
        *reaching,
        "kept",
        "error",
        f"{plan.curves[0].unit} saved",
    )


def list_rows(plan: PlanResult) -> list[tuple[str, ...]]:
    """A row per group with a curve, in the network's order; widths in channels."""
    return [_make_row(row, curve) for row, curve in _pair_up(plan)]


def explain_columns(plan: PlanResult) -> str:
    """What the columns mean, and what the whole plan loses."""
    total = sum(_find_error(curve, row.kept) for row, curve in _pair_up(plan))
    weighed = " The search has weighed each group's errors." if plan.method.startswith("legr") else ""
    return (
        "Error: what the layers that read a group can no longer make up for, squared, as a share of the variance of "
        f"what they add to the network. Errors add up, here to {_format_error(total)}. An error's width is the "
        "narrowest that loses no more. Saved: what the network would cost more with that group alone whole."
        f"{weighed}"
    )


def draw_curves(plan: PlanResult, file: Path) -> None:
    """Draw a line per group: its error against the share of its units that is kept, the kept width being a point.

    Raises:
        ConfigError: the run has no curves, or the file's ending is neither .png nor .html.
        MissingDependency: what draws it is not installed.
    """
    check_suffix(file)
    if not plan.curves:
        hint = "scores that add up have curves: prune with --method obs"
        raise ConfigError(f"this run, by '{plan.method}', has no curves to draw", hint=hint)
    lines = tuple(
        Line(f"{curve.name} (kept: {row.kept} of {row.width})", tuple(each / row.width for each in curve.widths),
             curve.errors)
        for row, curve in _pair_up(plan)
    )  # fmt: skip
    title = f"{plan.plan.network}, {plan.plan.budget}: what each group loses"
    save(Plot(title, "share of the group's units kept", "error", lines), file)


def _pair_up(plan: PlanResult) -> Iterator[tuple[GroupRow, GroupCurve]]:
    """The groups that have a curve, each with it."""
    curves = {curve.name: curve for curve in plan.curves}
    return ((row, curves[row.name]) for row in plan.groups if row.name in curves)


def _make_row(row: GroupRow, curve: GroupCurve) -> tuple[str, ...]:
    reaching = (str(_find_width(curve, level) * row.channels_per_unit) for level in LEVELS)
    saved = curve.costs[-1] - float(np.interp(row.kept, curve.widths, curve.costs))
    return (
        row.name,
        str(row.width * row.channels_per_unit),
        *reaching,
        str(row.kept * row.channels_per_unit),
        _format_error(_find_error(curve, row.kept)),
        f"{saved:,.3f}" if abs(saved) < 1000 else f"{saved:,.0f}",
    )


def _find_width(curve: GroupCurve, level: float) -> int:
    """The narrowest width that loses no more than that."""
    return next(width for width, error in zip(curve.widths, curve.errors, strict=True) if error <= level)


def _find_error(curve: GroupCurve, width: int) -> float:
    return float(np.interp(width, curve.widths, curve.errors))


def _format_error(error: float) -> str:
    return f"{error:.2g}" if 0 < error < 0.001 else f"{error:.4f}"
