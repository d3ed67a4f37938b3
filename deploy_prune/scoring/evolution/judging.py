"""How a search's candidates are judged: with weights mapped to what is left, or after a few steps of training."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Literal

from deploy_prune.scoring.obs.maps import measure_maps
from deploy_prune.scoring.obs.readings import Sampling
from deploy_prune.scoring.study import Study
from deploy_prune.train.fitness import Exam, Examiner, judge_candidate, prepare_examiner
from deploy_prune.train.refit.dense_map import DenseMap
from deploy_prune.train.refit.settings import RefitSettings
from deploy_prune.train.refit.walk import draw_refit_images
from deploy_prune.values import Data, Keep

logger = logging.getLogger(__name__)

Judge = Literal["steps", "maps"]
STEPS, BLIND_STEPS = 20, 100
"""Steps of training before a candidate is judged; losses near chance order nothing, and need more."""
LONGER = 4
"""How many times as many steps finalists are trained for: what learns fastest need not end best."""
REFIT_IMAGES = 100
"""The images that finalists are refitted on, where candidates are mapped."""
SIGHT = 1 / 3
"""The share of the dense network's quality below which, right after the cut, a network is taken to be near chance."""


@dataclass(frozen=True)
class Judging:
    """How candidates are to be judged, and the finalists among them."""

    judge: Judge
    """`maps`: by what the dense network's layers read, finalists refitted; `steps`: trained, finalists for longer."""
    steps: int | None
    """Steps of training before a candidate is judged; None: as many as it takes."""
    finalists: bool
    """Whether there are finalists."""
    exam: Exam
    """Which images judge, and the rate of steps."""

    def prepare(self, study: Study, data: Data, alike: Keep) -> tuple[Examiner, Examiner]:
        """Prepare what judges candidates, and what judges finalists.

        Args:
            study: the search's.
            data: its images.
            alike: the plan under the budget that treats all groups alike.
        """
        by_maps = self.judge == "maps"
        maps = _measure_maps(study, data) if by_maps else ()
        longer = LONGER * (self.steps or (0 if by_maps else BLIND_STEPS)) if self.finalists else 0
        steps = 0 if maps and self.steps is None else self.steps
        most = BLIND_STEPS if steps is None else steps
        refit_images = REFIT_IMAGES if by_maps and self.finalists else 0
        exam = replace(self.exam, steps=max(longer, most), refit_images=refit_images)
        finals = prepare_examiner(study.network, study.graph, data, exam, seed=study.seed, hooks=study.hooks)
        first = replace(finals, maps=maps, refit_on=None)
        steps = choose_steps(first, alike) if steps is None else steps
        return replace(first, steps=steps), replace(finals, steps=longer)


def _measure_maps(study: Study, data: Data) -> tuple[DenseMap, ...]:
    """What every layer needs to make up for inputs that go, by what it reads in the dense network."""
    images = draw_refit_images(data, RefitSettings(seed=study.seed))
    sampling = Sampling(seed=study.seed)
    return measure_maps(study.network, study.graph, images, sampling, progress=study.progress)


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
