"""`deploy-prune refit`: solve the layers of a network that was cut before anew, without labels or training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy_prune.cli.options import Accelerator, DataAddress, Json
from deploy_prune.cli.output import say, show_json, show_progress, show_table

if TYPE_CHECKING:
    from deploy_prune.pipeline.refit_again import RefitAgain

Cut = Annotated[Path, typer.Argument(metavar="RUN|FOLDER", help="A run, or a folder with a cut network.")]
Dense = Annotated[
    Path | None,
    typer.Option("--dense", metavar="FILE", help="The weights that it was cut from, if no run has them."),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder that the network is written to.")]


def refit(
    cut: Cut,
    data: DataAddress = None,
    dense: Dense = None,
    out: Out = Path("refitted"),
    accelerator: Accelerator = None,
    as_json: Json = False,
) -> None:
    """Solve every layer of a cut network anew, so that it gives what the dense one gave.

    Takes a few hundred images and no labels. Shapes stay, so that milliseconds do.
    """
    from deploy_prune.pipeline.refit_again import refit as refit_cut
    from deploy_prune.train.accelerator import AUTO

    with show_progress(as_json=as_json) as told:
        result = refit_cut(cut, out, data=data, dense=dense, accelerator=accelerator or AUTO, progress=told)
    if as_json:
        show_json(refit=result)
    else:
        show_refit(result, out)


def show_refit(result: RefitAgain, out: Path) -> None:
    """What could go on, and what did."""
    refit = result.refit
    rows = [(name, f"{error:.3f}", "written" if name == refit.chosen else "")
            for name, error in sorted(refit.errors.items(), key=lambda item: item[1])]  # fmt: skip
    show_table("output error on held-out images", ("network", "of the dense network's variance", ""), rows)
    say(f"{refit.kept} of {len(refit.layers)} layers have new weights, in {refit.seconds:.0f} s; written to {out}")
    if result.before is not None and refit.val is not None:
        say(f"{refit.val.name} on validation: {result.before.value:.2%} before, {refit.val.value:.2%} now")
    if result.before is not None and refit.val is not None and refit.val.output_error is not None:
        errors = f"{result.before.output_error:.4f} before, {refit.val.output_error:.4f} now"
        say(f"error of its outputs on validation, a share of the variance of the dense network's: {errors}")
