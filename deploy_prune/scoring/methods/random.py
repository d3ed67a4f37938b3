"""Random channels at uniform widths: the control that every method has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from deploy_prune.scoring.methods import Scorer
from deploy_prune.scoring.study import Study
from deploy_prune.values import Scores


@dataclass(frozen=True)
class Random:
    """A unit's score is a random rank percentile within its own group, drawn from the study's seed."""

    needs_labels: ClassVar[bool] = False

    def score(self, study: Study) -> Scores:
        """Score every unit by a percentile in (0, 1] that is drawn: shape (units,) per group."""
        generator = np.random.default_rng(study.seed)
        groups = study.graph.free
        return Scores({group.name: (generator.permutation(group.width) + 1) / group.width for group in groups})


plugin: type[Scorer] = Random
