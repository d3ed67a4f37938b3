"""What LeGR searches among where OBS says which units go: their ranks, and the curves that a search begins at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy_prune.graph.filter_norms import filter_norms, percentiles
from deploy_prune.scoring.evolution.affine_ranking import Ranking
from deploy_prune.scoring.methods.obs import Obs
from deploy_prune.scoring.scores_file import recall_scores
from deploy_prune.scoring.study import Study
from deploy_prune.values import Scores

CURVES = "legr-obs.safetensors"
"""The scores by OBS, in the search's folder."""


@dataclass(frozen=True, eq=False)
class ObsRanking:
    """Ranks of all units, and what they lose."""

    ranking: Ranking
    """The units' ranks within their groups, in (0, 1]: even steps, where losses differ by orders of magnitude."""
    curves: Scores
    """Losses that add up, of all free groups; a group without a curve loses more than all others together."""


def rank_by_obs(study: Study) -> ObsRanking:
    """Rank all units by OBS, once: the study's folder keeps the scores; a group without a curve is ranked by norms.

    Raises:
        ConfigError: there are no images.
    """
    path = study.folder / CURVES if study.folder else None
    losses = recall_scores(path, study.graph, lambda: Obs().score(study)).by_group
    missing = [group for group in study.graph.free if group.name not in losses]
    norms = filter_norms(study.network.module, study.graph, power=2) if missing else {}
    most = 1.0 + sum(float(each.sum()) for each in losses.values())
    curves = {**losses, **{group.name: np.full(group.width, most) for group in missing}}
    order = {group.name: losses.get(group.name, norms.get(group.name)) for group in study.graph.free}
    ranks = percentiles({name: values for name, values in order.items() if values is not None})
    return ObsRanking(Ranking(ranks.by_group), Scores(curves, additive=True))
