"""scikit-learn's 1,797 scanned digits, 8x8, enlarged to 32x32: `digits` needs no file and no download."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits

from deploy_prune.errors import DataError
from deploy_prune.setting_rules import Seed
from deploy_prune.sources.datasets import DataSource
from deploy_prune.sources.images import ArrayImages, split_indices
from deploy_prune.values import Data

DEFAULT_SIZE = (32, 32)
SHARES = (0.60, 0.15, 0.25)  # train, val, test
DARKEST = 16  # the scans count ink from 0 to 16


@dataclass(frozen=True)
class Digits:
    """Real handwriting in seconds: for demonstrations and tests."""

    seed: Seed = 0
    """Draws the split; the default's is the one that published figures use."""

    def read(self, rest: str, *, size: tuple[int, int] | None) -> Data:
        """See the contract."""
        if rest:
            raise DataError(f"'digits' takes no path, got '{rest}'", hint="write digits")
        scans, labels = load_digits(return_X_y=True)
        grey = np.round(scans.reshape(-1, 8, 8, 1) * (255 / DARKEST)).astype(np.uint8)
        pixels = np.repeat(grey, 3, axis=3)
        labels = labels.astype(np.int64)
        train, val, test = (
            ArrayImages(pixels[indices], labels[indices], size or DEFAULT_SIZE)
            for indices in split_indices(labels, SHARES, seed=self.seed)
        )
        return Data(
            name="digits",
            classes=tuple("0123456789"),
            mean=(0.3,) * 3,
            std=(0.37,) * 3,
            image_shape=(3, *(size or DEFAULT_SIZE)),
            train=train,
            val=val,
            test=test,
            flip=False,
            crop_padding=4,
        )


plugin: type[DataSource] = Digits
