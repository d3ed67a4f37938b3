"""How a search's candidates are judged: after a few steps of training, or with weights mapped to what is left."""

from __future__ import annotations

import logging
from dataclasses import replace

from deploy_prune.scoring.obs.maps import measure_maps
from deploy_prune.scoring.obs.readings import Sampling
from deploy_prune.scoring.study import Study
from deploy_prune.train.fitness import Examiner, judge_candidate
from deploy_prune.train.refit.settings import RefitSettings
from deploy_prune.train.refit.walk import draw_refit_images
from deploy_prune.values import Data, Keep

logger = logging.getLogger(__name__)

STEPS, BLIND_STEPS = 20, 100
"""Steps of training before a candidate is judged; losses near chance order nothing, and need more."""
SIGHT = 1 / 3
"""The share of the dense network's quality below which, right after the cut, a network is taken to be near chance."""


def map_candidates(prepared: Examiner, study: Study, data: Data) -> Examiner:
    """Have cut layers make up for what goes, by what they read in the dense network, instead of training them."""
    images = draw_refit_images(data, RefitSettings(seed=study.seed))
    sampling = Sampling(seed=study.seed)
    maps = measure_maps(study.network, study.graph, images, sampling, progress=study.progress)
    return replace(prepared, maps=maps)


def choose_steps(prepared: Examiner, alike: Keep, *, sight: float = SIGHT) -> int:
    """Decide on more steps where candidates would be near chance right after the cut: few would order nothing.

    Args:
        prepared: what candidates share.
        alike: the plan under the budget that treats all groups alike.
        sight: the share of the dense network's quality below which it sees nothing.
    """
    whole = {group.name: tuple(range(group.width)) for group in prepared.graph.free}
    dense, cut = (judge_candidate(replace(prepared, steps=0), keep).value for keep in (whole, alike))
    if cut >= sight * dense > 0:  # of a quality that is not positive there are no shares
        return STEPS
    logger.warning(
        "legr: right after a cut to this budget %s is %.3g (dense: %.3g): every candidate is trained for %d steps "
        "before it is judged", prepared.quality, cut, dense, BLIND_STEPS,
    )  # fmt: skip
    return BLIND_STEPS
