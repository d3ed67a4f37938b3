"""Group magnitude: a unit matters as much as the filters that make it are large (arXiv 1608.08710, per group)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from deploy_prune.errors import ConfigError
from deploy_prune.graph.filter_norms import filter_norms
from deploy_prune.scoring.methods import Scorer
from deploy_prune.scoring.study import Study
from deploy_prune.values import Scores


@dataclass(frozen=True)
class Magnitude:
    """A unit's score is the mean norm of its filters."""

    needs_labels: ClassVar[bool] = False

    norm: Literal["l1", "l2"] = "l2"
    """The norm of a filter: `l1` or `l2`."""
    normalise: bool = True
    """Whether norms are divided by their group's mean, so that layers can be compared."""

    def __post_init__(self) -> None:
        if self.norm not in ("l1", "l2"):
            raise ConfigError(f"method 'magnitude' has no norm {self.norm!r}", hint="known: l1, l2")

    def score(self, study: Study) -> Scores:
        """Score every unit by its norm: shape (units,) per group, higher is more important."""
        norms = filter_norms(study.network.module, study.graph, power=1 if self.norm == "l1" else 2)
        if self.normalise:
            norms = {name: values / max(float(values.mean()), 1e-12) for name, values in norms.items()}
        return Scores(norms)


plugin: type[Scorer] = Magnitude
