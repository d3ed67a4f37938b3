"""Leads from an address to a data set in three fixed splits, and from its images to a network's input."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deploy_prune import plugins
from deploy_prune.errors import DataError
from deploy_prune.sources.addresses import split_address
from deploy_prune.sources.datasets import DATASETS
from deploy_prune.values import AppForm, Data, ImageSet, Network, Normalisation, SplitRecord

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

DIGESTED = 32
"""How many images of a split identify it by their pixels: enough to notice another order, size or source."""


def read_data(address: str, *, size: tuple[int, int] | None = None, options: Mapping[str, Any] | None = None) -> Data:
    """The data set at `NAME`, `NAME:PATH` or `path/to/file.py:factory`; `size` (height, width) None: its own.

    Raises:
        UnknownName: no such source or option (the closest is offered).
        DataError: nothing there, nothing readable, or labels that are none of the classes.
    """
    name, rest = split_address(address)
    data: Data = plugins.build(DATASETS, name, options).read(rest, size=size)
    for split, images in (("train", data.train), ("val", data.val), ("test", data.test)):
        _check(data, split, images)
    return data


def has_labels(data: Data) -> bool:
    """Whether the images say which class they are of."""
    return data.train.labels is not None


def require_labels(data: Data, images: ImageSet, who: str) -> np.ndarray:
    """Give the labels of one of the splits, int64 (images,), to whoever cannot work without them.

    Args:
        data: the data set.
        images: one of its splits.
        who: what the error calls the one that needs them, such as "method 'dcp'".

    Raises:
        DataError: the images have no labels.
    """
    if images.labels is None:
        hint = "methods that need none: magnitude, uniform, random, legr; or take data with a folder per class"
        raise DataError(f"{who} needs labels, and {data.name} has none", hint=hint)
    return images.labels


def list_strata(images: ImageSet) -> np.ndarray:
    """List what every part of a split gets its share of: the labels, or one class of all images; int64 (images,)."""
    import numpy as np

    return np.zeros(len(images), np.int64) if images.labels is None else images.labels


def check_classes(network: Network, data: Data) -> None:
    """Refuse a network that says it scores another number of classes than the labels have.

    Raises:
        DataError: they do not belong together.
    """
    if has_labels(data) and network.classes not in (None, len(data.classes)):
        message = f"{network.address} has {network.classes} classes, {data.name} has {len(data.classes)}"
        raise DataError(message, hint=f"build the network with {len(data.classes)} classes")


def check_fit(network: Network, data: Data) -> None:
    """Refuse a network that takes another image size.

    Raises:
        DataError: they do not belong together.
    """
    if network.input_shapes != (data.image_shape,):
        message = f"{network.address} takes {network.input_shapes}, images of {data.name} are {data.image_shape}"
        raise DataError(message, hint="read the data in the network's size")


def normalise(images: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Make a network's input of pixels, (image / 255 - mean) / std; mean and std have a number per channel.

    uint8 (images, height, width, channels) -> float32 (images, channels, height, width).
    """
    import torch

    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    scale = 1 / (255 * torch.tensor(std))
    shift = torch.tensor(mean) / torch.tensor(std)
    return pixels.mul_(scale[:, None, None]).sub_(shift[:, None, None])


VERIFICATION_IMAGES = 200
"""Images a file is verified on: enough to see a top-1 that differs on one image in a hundred."""


def read_spread(images: ImageSet, count: int = VERIFICATION_IMAGES) -> np.ndarray:
    """Read so many images from all over a split (or all there are): uint8, (images, height, width, channels)."""
    import numpy as np

    total = len(images)
    return images.read(np.linspace(0, total - 1, min(count, total)).astype(np.int64))


def describe_form(data: Data) -> AppForm:
    """What the data say of how an app meets a network that was trained on them."""
    return AppForm(normalisation=Normalisation(data.mean, data.std), labels=data.classes)


def identify_splits(data: Data) -> dict[str, SplitRecord]:
    """What identifies the three splits, so that a run can tell whether it goes on with the same ones.

    Labels of all three, where there are some, and pixels of some images; not of test images, which nobody looks at
    before the end.
    """
    return {
        "train": SplitRecord(len(data.train), _digest(data.train, pixels=True)),
        "val": SplitRecord(len(data.val), _digest(data.val, pixels=True)),
        "test": SplitRecord(len(data.test), _digest(data.test, pixels=False)),
    }


def _digest(images: ImageSet, *, pixels: bool) -> str:
    import numpy as np

    labels = b"" if images.labels is None else np.ascontiguousarray(images.labels, dtype="<i8").tobytes()
    digest = hashlib.sha256(labels)
    if pixels:
        chosen = np.unique(np.linspace(0, len(images) - 1, DIGESTED).astype(np.int64))
        digest.update(np.ascontiguousarray(images.read(chosen)).tobytes())
    return digest.hexdigest()


def _check(data: Data, split: str, images: ImageSet) -> None:
    if not len(images):
        raise DataError(
            f"{data.name} has no images in its {split} split",
            hint="a share of the training images is split off: give more",
        )
    labels = images.labels
    if (labels is not None) != has_labels(data):
        lacking = split if labels is None else "train"
        raise DataError(f"{data.name} has no labels in its {lacking} split", hint="label all three splits, or none")
    if labels is None:
        return
    if len(labels) != len(images):
        message = f"{data.name} has {len(labels)} labels for {len(images)} images in its {split} split"
        raise DataError(message, hint="give one label per image")
    if labels.min() < 0 or labels.max() >= len(data.classes):
        message = (
            f"{data.name} has labels {labels.min()} ... {labels.max()} in {split}, and {len(data.classes)} classes"
        )
        raise DataError(message, hint="labels count from 0")
