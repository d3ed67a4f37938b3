"""`deploy-prune demo`: the whole road on a small network and data that need no download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy_prune.cli.options import Json
from deploy_prune.cli.output import say, show_progress
from deploy_prune.cli.prune import show_run
from deploy_prune.errors import Inconclusive

if TYPE_CHECKING:
    from deploy_prune.results import RunSummary

Out = Annotated[Path, typer.Option("--out", metavar="RUN", help="The run folder; the same command continues it.")]
IN_MS, IN_MACS = "latency=0.5x", "0.5x"


def demo(out: Out = Path("demo-run"), as_json: Json = False) -> int:
    """See the whole road on a small example.

    Trains a small MobileNetV2 on digits, times this machine, prunes to half the milliseconds by OBS, refits, trains a
    little more, ships it and proves what was shipped. Where the machine is too noisy to time, the budget is in MACs.
    """
    from deploy_prune.pipeline.run import demo as run_demo

    with show_progress(as_json=as_json) as told:
        folder, summary = run_whichever(out, lambda run, budget: run_demo(run, budget=budget, progress=told))
    return show_run(folder, summary, as_json=as_json)


def run_whichever(out: Path, run: Callable[[Path, str], RunSummary]) -> tuple[Path, RunSummary]:
    """Run the demo under a budget in milliseconds, or in MACs, beside it, where no table of milliseconds can be made.

    Args:
        out: the run folder.
        run: the folder and the budget -> what became of it.

    Raises:
        DeployPruneError: see `pipeline.run.prune`.
    """
    try:
        return out, run(out, IN_MS)
    except Inconclusive as error:
        if (out / "planning.json").exists():  # a plan was timed: it is the end that is noisy
            raise
        beside = out.with_name(f"{out.name}-in-macs")
        say(f"{error.message}: the demo goes on in {beside}, with a budget in multiply-adds", err=True)
        return beside, run(beside, IN_MACS)
