"""Uniform width: every group keeps the same share; which units is decided by their filters' norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from deploy_prune.errors import ConfigError
from deploy_prune.graph.filter_norms import filter_norms, percentiles
from deploy_prune.scoring.methods import Scorer
from deploy_prune.scoring.study import Study
from deploy_prune.values import Scores


@dataclass(frozen=True)
class Uniform:
    """A unit's score is its rank percentile within its own group."""

    needs_labels: ClassVar[bool] = False

    norm: Literal["l1", "l2"] = "l2"
    """The norm of a filter: `l1` or `l2`."""

    def __post_init__(self) -> None:
        if self.norm not in ("l1", "l2"):
            raise ConfigError(f"method 'uniform' has no norm {self.norm!r}", hint="known: l1, l2")

    def score(self, study: Study) -> Scores:
        """Score every unit by its percentile in (0, 1]: shape (units,) per group."""
        norms = filter_norms(study.network.module, study.graph, power=1 if self.norm == "l1" else 2)
        return percentiles(norms)


plugin: type[Scorer] = Uniform
