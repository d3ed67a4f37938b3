"""What a refit is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deploy_prune.setting_rules import MOST_SEED, check_settings

Targets = Literal["reference", "corrected", "chosen"]
"""What a layer should give: what it gave in the reference network; that and what the stream it is added to has lost;
or whichever form is better on held-out images."""

Norms = Literal["kept", "measured"]
"""Batch norms keep their statistics, or each is given those of what it reads in the cut network, before the layers
behind it are solved."""


@dataclass(frozen=True)
class RefitSettings:
    """What a refit looks at and what it tries."""

    ridges: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)
    """How strongly weights are held where they were, as shares of the mean centred variance of a layer's inputs; the
    held-out images choose one for each layer."""
    images: int = 512
    """How many images it looks at; their labels are never used."""
    positions: int = 49
    """How many output positions of each image a layer is fitted at, at most."""
    held_out: float = 0.2
    """The share of the images that no weights are fitted to, from 0 to 1 (neither included)."""
    targets: Targets = "reference"
    """What layers should give."""
    norms: Norms = "kept"
    """What batch norms are given on the way."""
    batch_size: int = 50
    """How many images are worked on at once, at most."""
    seed: int = 0
    """Draws images and positions."""

    def __post_init__(self) -> None:
        """Refuse what no refit can be done with."""
        rules = (
            ("ridges", "numbers above 0, at least one", bool(self.ridges) and min(self.ridges) > 0),
            ("images", "2 or more", self.images >= 2),
            ("positions", "1 or more", self.positions >= 1),
            ("held_out", "above 0 and below 1", 0 < self.held_out < 1),
            ("batch_size", "1 or more", self.batch_size >= 1),
            ("seed", f"from 0 to {MOST_SEED}", 0 <= self.seed <= MOST_SEED),
        )
        check_settings("refit", self, rules)
