"""Sizes of units, and the scores that affine maps make of them: what LeGR searches among (arXiv 1904.12368, eq. 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deploy_prune.graph.filter_norms import percentiles, squared_norms
from deploy_prune.scoring.evolution.ageing import Genome
from deploy_prune.values import ChannelGraph, Network, Scores


@dataclass(frozen=True, eq=False)
class Ranking:
    """The scores of any genome."""

    sizes: Mapping[str, np.ndarray]
    """Group -> the size of every unit, float, shape (units,); a genome has the groups in this order."""
    additive: bool = False
    """Whether sizes are losses that add up: then genomes weigh the groups' losses, and shift nothing."""

    @property
    def means(self) -> np.ndarray:
        """The mean of each group's sizes: shape (groups,)."""
        return np.array([float(sizes.mean()) for sizes in self.sizes.values()])

    @property
    def deviation(self) -> np.ndarray:
        """The standard deviation of each group's sizes, by which genomes shift them: shape (groups,); 0 of losses."""
        if self.additive:
            return np.zeros(len(self.sizes))
        return np.array([float(sizes.std()) for sizes in self.sizes.values()])

    @property
    def centre(self) -> np.ndarray:
        """The scales that make all groups' mean sizes one and the same, 1 of losses: shape (groups,)."""
        if self.additive:
            return np.ones(len(self.sizes))
        scales: np.ndarray = self.means.mean() / np.maximum(self.means, 1e-12)
        return scales

    @property
    def percentiles(self) -> Scores:
        """The scores that treat all groups alike, as method `uniform` does."""
        return percentiles(self.sizes)

    def cut_at(self, widths: Sequence[int]) -> Genome:
        """Make the genome whose scores are 0 between what stays at these widths and what goes, with one deviation."""
        edges = [np.sort(sizes)[::-1][width - 1 : width + 1].mean()
                 for sizes, width in zip(self.sizes.values(), widths, strict=True)]  # fmt: skip
        deviation = np.maximum(self.deviation, 1e-12)
        scale = float(np.mean(deviation * self.centre)) / deviation
        return Genome(scale, -scale * np.array(edges))

    def scores(self, genome: Genome) -> Scores:
        """Score every unit of every group by a genome."""
        pairs = zip(self.sizes.items(), genome.scale, genome.shift, strict=True)
        by_group = {group: scale * sizes + shift for (group, sizes), scale, shift in pairs}
        return Scores(by_group, additive=self.additive)


def ranking_of(network: Network, graph: ChannelGraph, reduce: str = "mean") -> Ranking:
    """Measure the units of a network as it is; `reduce` joins the layers that make a unit: `mean` or `sum`."""
    by_layer = squared_norms(network.module, graph)
    over = np.mean if reduce == "mean" else np.sum
    return Ranking({group: over(list(sizes.values()), axis=0) for group, sizes in by_layer.items()})
