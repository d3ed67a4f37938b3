"""Any classification set of torchvision that is already on disk: `torchvision:SVHN:DIR`; nothing is downloaded."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from torchvision import datasets

from deploy_prune.errors import DataError, UnknownName
from deploy_prune.setting_rules import Seed
from deploy_prune.sources.cifar import MEAN, STD, VAL_SHARE
from deploy_prune.sources.colours import convert_to_rgb
from deploy_prune.sources.datasets import DataSource
from deploy_prune.sources.images import ArrayImages, split_indices
from deploy_prune.values import Data

MEMORY_LIMIT_BYTES = 4 << 30
# Sets whose mirrored image is something else.
NOT_FLIPPED = frozenset(("SVHN", "MNIST", "KMNIST", "EMNIST", "QMNIST", "USPS", "GTSRB", "Omniglot", "RenderedSST2"))
# How the two halves are asked for: constructor argument -> its value for (train, test).
HALVES = {"train": (True, False), "split": ("train", "test")}


@dataclass(frozen=True)
class TorchvisionData:
    """Sets whose items are (image, class number). torchvision checks pickled files' sums before it opens them."""

    seed: Seed = 0
    """Draws the validation images out of the training set."""
    mean: tuple[float, ...] = MEAN
    """The mean of the pixels, which go from 0 to 1, per channel; `std` is their standard deviation."""
    std: tuple[float, ...] = STD
    """The same for the standard deviation."""

    def read(self, rest: str, *, size: tuple[int, int] | None) -> Data:
        """See the contract."""
        name, _, directory = rest.partition(":")
        if name not in datasets.__all__:
            raise UnknownName("torchvision data set", name, datasets.__all__)
        train_set, test_set = _open(name, directory)
        train, train_labels = _decode(name, train_set, size)
        test, test_labels = _decode(name, test_set, size or (train.shape[1], train.shape[2]))
        indices = split_indices(train_labels, (1 - VAL_SHARE, VAL_SHARE), seed=self.seed)
        splits = [ArrayImages(train[part], train_labels[part]) for part in indices]
        count = 1 + int(max(train_labels.max(), test_labels.max()))
        return Data(
            name=f"torchvision:{name}",
            classes=tuple(str(number) for number in range(count)),
            mean=tuple(self.mean),
            std=tuple(self.std),
            image_shape=(3, train.shape[1], train.shape[2]),
            train=splits[0],
            val=splits[1],
            test=ArrayImages(test, test_labels),
            flip=name not in NOT_FLIPPED,
            crop_padding=train.shape[1] // 8,
        )


def _open(name: str, directory: str) -> tuple[Any, Any]:
    cls = vars(datasets)[name]
    parameters = inspect.signature(cls).parameters
    selector = next((key for key in HALVES if key in parameters), None)
    if selector is None or "root" not in parameters:
        message = f"torchvision's {name} has no train and test halves that are known here"
        raise DataError(message, hint="store it as image folders and use imagefolder:DIR, or write a file:name factory")
    keywords = {"download": False} if "download" in parameters else {}
    try:
        train, test = (cls(directory, **{selector: half}, **keywords) for half in HALVES[selector])
    except Exception as error:  # each set has its own way to say that its files are not there
        raise DataError(f"torchvision cannot open {name} in '{directory}': {error}", hint=_HINT) from error
    return train, test


def _decode(name: str, items: Any, size: tuple[int, int] | None) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (images, h, w, 3) and int64 (images,); all images get the size of the first unless one is asked for."""
    pixels, labels = np.empty((0, 0, 0, 3), np.uint8), np.empty(len(items), np.int64)
    for index in range(len(items)):
        image, label = _open_item(name, items, index)
        if not isinstance(image, Image.Image) or not isinstance(label, int | np.integer):
            raise DataError(f"torchvision's {name} gives no (image, class number)", hint="take a classification set")
        size = size or (image.height, image.width)
        if index == 0:
            needed = len(items) * size[0] * size[1] * 3
            if needed > MEMORY_LIMIT_BYTES:
                message = f"{name} at {size[0]}x{size[1]} needs {needed / 2**30:.0f} GiB of memory"
                raise DataError(message, hint="store it as image folders and use imagefolder:DIR")
            pixels = np.empty((len(items), *size, 3), np.uint8)
        pixels[index] = np.asarray(convert_to_rgb(image).resize((size[1], size[0]), Image.Resampling.BILINEAR))
        labels[index] = label
    return pixels, labels


def _open_item(name: str, items: Any, index: int) -> tuple[Any, Any]:
    try:
        image, label = items[index]
        return image, label
    except Exception as error:  # decoders end in any error where bytes are not what they should be
        message = f"image {index} of torchvision's {name} cannot be read: {type(error).__name__}: {error}"
        raise DataError(
            message, hint="is it a classification set, and whole? Download it with torchvision again"
        ) from error


_HINT = "download it with torchvision first; the address is torchvision:NAME:DIR"

plugin: type[DataSource] = TorchvisionData
