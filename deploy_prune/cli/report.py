"""`deploy-prune report`: what a run folder's records say."""

from __future__ import annotations

from deploy_prune.cli.options import Json, Run
from deploy_prune.cli.output import say, show_json


def report(run: Run, as_json: Json = False) -> None:
    """Print the report of a run in Markdown."""
    from deploy_prune.analysis.report import report as render

    markdown = render(run)
    if as_json:
        show_json(run=str(run), report=markdown)
    else:
        say(markdown)
