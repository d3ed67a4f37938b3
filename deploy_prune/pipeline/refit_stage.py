"""The refit within a run: which networks can go on after the cut, and the one whose outputs changed least."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from torch.nn.modules.batchnorm import _BatchNorm

from deploy_prune.pipeline.context import RunContext
from deploy_prune.pipeline.deciders import build_deciders
from deploy_prune.records import read_record
from deploy_prune.results import CutResult, RefitResult
from deploy_prune.scoring.best_scored import BestScored
from deploy_prune.train.recalibration import recalibrate_norms
from deploy_prune.train.refit.norms import reexpress_norms
from deploy_prune.train.refit.output_error import measure_output_errors
from deploy_prune.train.refit.progress_file import digest
from deploy_prune.train.refit.settings import Norms, RefitSettings
from deploy_prune.train.refit.walk import CutNetwork, Refit, draw_refit_images
from deploy_prune.values import Data, Network, Progress, Quality, quiet

CUT, REFITTED, REFITTED_ANEW = "cut", "refitted", "refitted, norms anew"
REFITTED_ON_THE_WAY = "refitted, norms anew on the way"


def _find_reference(context: RunContext, cut_from: Network) -> Network:
    """What a cut network's layers should give: what they gave in the network that it was cut from.

    A method that selects units retrains what reads them while it does so: then it is the dense network.
    """
    selector = build_deciders(context.config)[1]
    return cut_from if selector is None or isinstance(selector, BestScored) else context.network("dense")


def refit_cut(context: RunContext, cut: CutNetwork) -> tuple[Network, RefitResult]:
    """Refit the cut network of a run, in the run's folder."""
    config = context.config
    plan = RefitPlan(config.seed, config.recalibrate_images, config.refit_images, context.folder.path / "refit")
    against = replace(cut, reference=_find_reference(context, cut.reference))
    return refit_best(against, context.data, plan, context.progress)


@dataclass(frozen=True)
class RefitPlan:
    """How a cut network is refitted."""

    seed: int = 0
    """Draws the images."""
    norm_images: int = 2000
    """The images that norms are measured anew on; 0: norms stay as they are."""
    images: int = RefitSettings.images
    """The images that layers are refitted on."""
    folder: Path | None = None
    """Where finished layers are written, for a killed refit to go on; None: nowhere."""


def refit_best(cut: CutNetwork, data: Data, plan: RefitPlan, progress: Progress = quiet) -> tuple[Network, RefitResult]:
    """Refit a cut network, measure norms anew or not, and let go on what is nearest to the reference."""
    began = time.monotonic()
    settings = RefitSettings(images=plan.images, targets="chosen", seed=plan.seed)
    refit = Refit(cut, draw_refit_images(data, settings), settings)
    ways: list[tuple[str, Norms]] = [(REFITTED, "kept")]
    if plan.norm_images and has_norms(cut.small):
        ways.append((REFITTED_ON_THE_WAY, "measured"))
    walked = {
        name: refit.walk(norms=norms, folder=plan.folder / norms if plan.folder else None, progress=progress)
        for name, norms in ways
    }
    candidates = {CUT: cut.small} | {name: network for name, (network, _) in walked.items()}
    if REFITTED_ON_THE_WAY in walked:
        first = walked[REFITTED][0]
        candidates[REFITTED_ANEW] = recalibrate_norms(first, data, images=plan.norm_images, seed=plan.seed)
    errors = measure_output_errors(candidates, cut.reference, refit.judging)
    chosen = min(errors, key=errors.__getitem__)
    sha256, seconds = digest({"images": refit.images}), time.monotonic() - began
    layers = walked[chosen if chosen in walked else REFITTED][1]
    network = candidates[chosen]
    if chosen == REFITTED:  # its norms hold what they held before the cut: training mode would start elsewhere
        network = reexpress_norms(network, refit.images)
    return network, RefitResult(len(refit.images), sha256, layers, errors, chosen, seconds)


def find_better_refit(context: RunContext, trained: Quality) -> Quality | None:
    """The quality of what the refit has left, if it is above that of the trained network; None: it is not."""
    refit = read_record(context.folder.path / "cut.json", CutResult).refit
    return refit.val if refit and refit.val and refit.val.value > trained.value else None


def has_norms(network: Network) -> bool:
    """Whether a network has batch norms with statistics, which can be measured anew."""
    return any(isinstance(part, _BatchNorm) and part.track_running_stats for part in network.module.modules())
