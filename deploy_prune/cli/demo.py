"""`deploy-prune demo`: the whole road on a small network and data that need no download."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploy_prune.cli.options import Json
from deploy_prune.cli.output import show_progress
from deploy_prune.cli.prune import show_run

Out = Annotated[Path, typer.Option("--out", metavar="RUN", help="The run folder; the same command continues it.")]


def demo(out: Out = Path("demo-run"), as_json: Json = False) -> int:
    """See the whole road on a small example.

    Trains a small MobileNetV2 on digits, prunes it to half its MACs, ships it and proves what was shipped.
    """
    from deploy_prune.pipeline.run import demo as run_demo

    with show_progress(as_json=as_json) as told:
        summary = run_demo(out, progress=told)
    return show_run(out, summary, as_json=as_json)
