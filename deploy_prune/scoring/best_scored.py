"""A selector made of a method that scores: widths are another's, the units are those that it scores best."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deploy_prune.graph.filter_norms import filter_norms
from deploy_prune.scoring.methods import Scorer
from deploy_prune.scoring.scores_file import read_scores, recall_scores
from deploy_prune.scoring.study import Study
from deploy_prune.scoring.top_units import best_units
from deploy_prune.values import Scores, Selection, Widths

logger = logging.getLogger(__name__)

SELECTING = "selecting.safetensors"
"""The scores that units are selected by, kept beside those that decide widths."""


@dataclass(frozen=True, eq=False)
class BestScored:
    """Keeps the best-scored units of every group."""

    needs_labels: ClassVar[bool] = False
    """False: the method that scores is asked for itself."""

    scorer: Scorer | Path
    """The method that scores, or the scores of another run."""

    def select(self, study: Study, widths: Widths) -> Selection:
        """Select `widths[group]` units of every group, by norms where the method gives a group no scores.

        The weights of a method that trains while it scores come along as they are.

        Raises:
            RecordError: the other run's scores are of another network.
        """
        scores = self.score(study)
        missing = [name for name in widths if name not in scores.by_group]
        if missing:
            logger.warning("units without scores are selected by their filters' norms: %s", ", ".join(missing))
        norms = filter_norms(study.network.module, study.graph, power=2) if missing else {}
        by_group = {**{name: norms[name] for name in missing}, **scores.by_group}
        return Selection(dict(best_units(Scores(by_group), widths)), weights=scores.weights)

    def score(self, study: Study) -> Scores:
        """Score the units, once: the study's folder keeps the scores."""
        scorer, graph = self.scorer, study.graph
        own = study.folder / SELECTING if study.folder else None
        if isinstance(scorer, Path):
            return recall_scores(own, graph, lambda: read_scores(scorer, graph))
        return recall_scores(own, graph, lambda: scorer.score(study))
