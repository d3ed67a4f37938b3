"""`deploy-prune report`: what a run folder's records say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploy_prune.cli.options import Json, Run
from deploy_prune.cli.output import say, show_json

Drawing = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE", help="Draw what each group loses (obs) as .png or .html."),
]


def report(run: Run, plot: Drawing = None, as_json: Json = False) -> None:
    """Print the report of a run in Markdown."""
    from deploy_prune.analysis.report import SUMMARY
    from deploy_prune.analysis.report import report as render
    from deploy_prune.analysis.report_curves import draw_curves
    from deploy_prune.records import read_record
    from deploy_prune.results import RunSummary

    markdown = render(run)
    if plot is not None:
        draw_curves(read_record(run / SUMMARY, RunSummary).plan, plot)
    if as_json:
        show_json(run=str(run), report=markdown)
    else:
        say(markdown)
