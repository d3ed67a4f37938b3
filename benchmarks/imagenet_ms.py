"""ImageNet's MobileNets at equal *measured* LiteRT ms, without training or labels, from 250 images.

    python -m benchmarks.imagenet_ms [--quick | --seeds SEED ... | --table] [--networks NAME ...] [--shares SHARE ...]

MobileNetV1 and V2 with TensorFlow's weights and padding, 224 x 224, at 0.9x, 0.8x and 0.7x of the dense network's time
on LiteRT, one thread (see `benchmarks/untrained.py`). 250 of 500 images are calibrated on, top-1 and agreement with the
dense network are of the other 250: images that the networks were most likely trained on, so that what counts is how
much of the dense network's accuracy is left. Two hours on two idle cores, which timing needs.
"""

from __future__ import annotations

import dataclasses
import sys

import numpy as np

from benchmarks.recording import SHARED
from benchmarks.trained import IMAGENET
from benchmarks.untrained import Table, run
from deploy_prune import ArrayImages, Data
from deploy_prune.sources.data import read_data
from deploy_prune.values import ImageSet

CALIBRATED = 250
SAID = "250 ImageNet images, most likely of the training set; the refit and obs see 250 others"


def read() -> Data:
    """The images in two halves, drawn by seed: both networks take pixels from -1 to 1."""
    if not SHARED.is_dir():
        print("the ImageNet images and checkpoints are not here", file=sys.stderr)
        sys.exit(2)
    options = {"numbered": 1000, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    data = read_data(f"imagefolder:{SHARED / 'imagenet-sample-500.tar'}", options=options, size=(224, 224))
    parts = (data.train, data.val, data.test)
    pixels = np.concatenate([part.read(np.arange(len(part))) for part in parts])
    labels = np.concatenate([_labels(part) for part in parts])
    order = np.random.default_rng(0).permutation(len(pixels))
    calibrated, judged = (ArrayImages(pixels[part], labels[part]) for part in (order[:CALIBRATED], order[CALIBRATED:]))
    return dataclasses.replace(data, train=calibrated, val=calibrated, test=judged)


def _labels(part: ImageSet) -> np.ndarray:
    assert part.labels is not None
    return part.labels


def without_labels(data: Data) -> Data:
    """The same images, of which nobody says what they show."""
    train, val, test = (_hide_labels(part) for part in (data.train, data.val, data.test))
    return dataclasses.replace(data, classes=(), train=train, val=val, test=test)


def _hide_labels(part: ImageSet) -> ArrayImages:
    return ArrayImages(part.read(np.arange(len(part))))


TABLE = Table("imagenet_ms", tuple(IMAGENET), (0.9, 0.8, 0.7), read, SAID, without_labels)

if __name__ == "__main__":
    sys.exit(run(TABLE, __doc__))
