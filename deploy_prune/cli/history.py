"""`deploy-prune history`: what the gate has measured of files over time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy_prune.cli.options import Json
from deploy_prune.cli.output import show_json, show_table
from deploy_prune.stats import write_briefly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploy_prune.analysis.gating.history import PastRun, Series

File = Annotated[Path, typer.Argument(metavar="FILE", help="What `gate --baseline-record` keeps.", show_default=False)]
Drawing = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="Draw every series over its runs as .png or .html.")
]
COLUMNS = ("file", "device", "runtime", "threads", "precision", "runs", "usual", "last", "last / usual", "taken")


def history(file: File, plot: Drawing = None, as_json: Json = False) -> None:
    """Show what the gate has measured of files over time.

    A series is one file name on one device, by one version of a runtime, with as many threads, in one precision.
    """
    from deploy_prune.analysis.gating.history import draw_history, read_history
    from deploy_prune.analysis.plots import check_suffix

    if plot is not None:
        check_suffix(plot)
    kept = read_history(file)
    if plot is not None:
        draw_history(kept, plot)
    if as_json:
        show_json(series=[{"series": series, "runs": runs} for series, runs in kept.items()])
    else:
        show_table(str(file), COLUMNS, [_make_row(series, runs) for series, runs in kept.items()])


def _make_row(series: Series, runs: Sequence[PastRun]) -> tuple[str, ...]:
    from deploy_prune.analysis.gating.history import find_usual

    last, usual = runs[-1], find_usual(runs)
    return (
        series.name, series.device, f"{series.runtime} {series.runtime_version}", str(series.threads),
        series.precision, str(len(runs)), f"{write_briefly(usual)} {series.unit}",
        f"{write_briefly(last.value)} {series.unit}",
        f"{last.value / usual:.3f}", last.taken,
    )  # fmt: skip
