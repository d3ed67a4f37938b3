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


Html = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write the page again, one self-contained file, such as report.html."),
]


def report(run: Run, html: Html = None, plot: Drawing = None, as_json: Json = False) -> None:
    """Print the report of a run, or of a front, in Markdown."""
    from deploy_prune.analysis.page.writing import write_page
    from deploy_prune.analysis.report import SUMMARY
    from deploy_prune.analysis.report import report as render
    from deploy_prune.analysis.report_curves import draw_curves
    from deploy_prune.analysis.report_front import is_front, report_front
    from deploy_prune.records import read_record
    from deploy_prune.results import RunSummary

    markdown = report_front(run) if is_front(run) else render(run)
    if html is not None:
        write_page(run, html)
    if plot is not None:
        draw_curves(read_record(run / SUMMARY, RunSummary).plan, plot)
    if as_json:
        show_json(run=str(run), report=markdown)
    else:
        say(markdown)
