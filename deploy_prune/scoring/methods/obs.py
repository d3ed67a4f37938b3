"""OBS curves: units, order and widths without labels, training or search, from one pass over a few hundred images.

Every layer that reads a group says what it loses when a unit goes and its other inputs make up for it (optimal brain
surgeon on the moments of what it reads), as a share of the variance of the stream that it lands in. Units go one by
one, the cheapest first; the sums along the way are the group's curve, and a budget takes the widths that lose the
least for the cost they save. The refit of the cut network makes good on what the curves promise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from deploy_prune.scoring.methods import Scorer
from deploy_prune.scoring.study import Study
from deploy_prune.setting_rules import check_settings
from deploy_prune.values import Scores


@dataclass(frozen=True)
class Obs:
    """A unit's score is what its group's curve rises by when it goes."""

    needs_labels: ClassVar[bool] = False

    images: int = 512
    """How many images the moments are taken of; their labels are never used."""
    positions: int = 49
    """The output positions of each image that a layer is looked at, at most."""
    ridge: float | None = None
    """What is added to the variance of every input, as a share of their mean; None: for each layer what makes up best
    on held-out images, from 0.01 to 1."""

    def __post_init__(self) -> None:
        rules = (
            ("images", "2 or more", self.images >= 2),
            ("positions", "1 or more", self.positions >= 1),
            ("ridge", "above 0", self.ridge is None or self.ridge > 0),
        )
        check_settings("method 'obs'", self, rules)

    def score(self, study: Study) -> Scores:
        """Score every unit by the rise of its group's convex curve: shape (units,) per group."""
        from deploy_prune.scoring.obs.curves import score_group
        from deploy_prune.scoring.obs.readings import Sampling, measure_readings
        from deploy_prune.train.refit.settings import RefitSettings
        from deploy_prune.train.refit.walk import draw_refit_images

        data = study.images("obs")
        images = draw_refit_images(data, RefitSettings(images=self.images, seed=study.seed))
        sampling = Sampling(positions=self.positions, seed=study.seed)
        readings = measure_readings(study.network, study.graph, images, sampling, study.progress)
        by_group = {}
        for number, (name, each) in enumerate(readings.items()):
            by_group[name] = score_group(each, self.ridge)
            study.progress("elimination", number + 1, len(readings), name)
        return Scores(by_group, additive=True)


plugin: type[Scorer] = Obs
