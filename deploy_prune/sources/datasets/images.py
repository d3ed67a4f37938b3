"""Images without labels: a folder, folders in folders, or a .tar of either: `images:DIR`.

What the folders are called says nothing, but where they are `train/`, `val/` and `test/` (or the first and one of the
others) those are the splits; otherwise images are split by seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deploy_prune.errors import DataError
from deploy_prune.setting_rules import Seed
from deploy_prune.sources.cifar import MEAN, STD
from deploy_prune.sources.datasets import DataSource
from deploy_prune.sources.images import list_images
from deploy_prune.sources.photographs import (
    Interpolation,
    Photographs,
    are_splits,
    make_framing,
    open_photographs,
    strip_common_folders,
)
from deploy_prune.values import Data, Normalisation

LEAST = 4
"""The fewest images that are split into three parts, none of them empty."""


@dataclass(frozen=True)
class Images:
    """Photographs of any size, of which only the names are read at the start."""

    seed: Seed = 0
    """Draws the splits, where the folders do not make them."""
    mean: tuple[float, ...] = MEAN
    """What the network's own training took for the mean of the pixels, which go from 0 to 1, per channel."""
    std: tuple[float, ...] = STD
    """What it took for their standard deviation."""
    crop: float = 0.875
    """Share of the short side that the centre crop keeps; 1: all of it."""
    interpolation: Interpolation = "bilinear"
    """How images are scaled to the network's size."""
    gone: tuple[str, ...] = ()
    """Names of broken images that keep their places in the splits when they are taken out of the folder."""

    def __post_init__(self) -> None:
        make_framing("images", None, self.crop, self.interpolation)

    def read(self, rest: str, *, size: tuple[int, int] | None) -> Data:
        """See the contract."""
        root = Path(rest)
        blobs = list_images(root, self.gone)
        paths = strip_common_folders([blob.name.split("/") for blob in blobs], below=1)
        split_by_folder = are_splits({path[0] for path in paths}) and all(len(path) > 1 for path in paths)
        if not split_by_folder and len(blobs) < LEAST:
            message = f"{root} holds {len(blobs)} image{'s' * (len(blobs) != 1)}, too few for three splits"
            hint = f"give {LEAST} or more; a few hundred are what `obs` and the refit look at"
            raise DataError(message, hint=hint)
        return open_photographs(
            "images",
            Photographs(root, blobs, [path[0] if split_by_folder else "" for path in paths]),
            framing=make_framing("images", size, self.crop, self.interpolation),
            normalisation=Normalisation(self.mean, self.std),
            seed=self.seed,
        )


plugin: type[DataSource] = Images
