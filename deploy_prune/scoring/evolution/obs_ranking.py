"""What LeGR searches among where OBS says what units lose: a weight for each group's curve."""

from __future__ import annotations

import numpy as np

from deploy_prune.scoring.evolution.affine_ranking import Ranking
from deploy_prune.scoring.methods.obs import Obs
from deploy_prune.scoring.scores_file import recall_scores
from deploy_prune.scoring.study import Study

CURVES = "legr-obs.safetensors"
"""The scores by OBS, in the search's folder."""


def rank_by_obs(study: Study) -> Ranking:
    """Rank all units by what OBS says that they lose, once: the study's folder keeps the scores.

    The genome that changes nothing gives the plan of OBS itself, under any cost. A group without a curve is ranked as
    if its units lost more than all others together.

    Raises:
        ConfigError: there are no images.
    """
    path = study.folder / CURVES if study.folder else None
    losses = recall_scores(path, study.graph, lambda: Obs().score(study)).by_group
    most = 1.0 + sum(float(each.sum()) for each in losses.values())
    free = study.graph.free
    return Ranking({each.name: losses.get(each.name, np.full(each.width, most)) for each in free}, additive=True)
