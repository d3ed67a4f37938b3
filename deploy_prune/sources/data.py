"""Leads from an address to a data set in three fixed splits, and from its images to a network's input."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deploy_prune import plugins
from deploy_prune.errors import DataError
from deploy_prune.sources.addresses import refuse_path, split_address
from deploy_prune.sources.datasets import DATASETS
from deploy_prune.values import AppForm, BrokenImage, Data, ImageSet, Network, Normalisation, SplitRecord

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
    refuse_path(DATASETS, address)
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
        hint = "methods that need none: obs, legr, magnitude, uniform, random; or take data with a folder per class"
        raise DataError(f"{who} needs labels, and {data.name} has none", hint=hint)
    return images.labels


def read_labelled(images: ImageSet, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Read images of a split with the labels of what was read, int64 (len(indices),); None where there are none.

    The image that stands in for a broken one may be of another class.
    """
    from deploy_prune.sources.encoded_images import EncodedImages

    pixels = images.read(indices)
    if images.labels is None:
        return pixels, None
    given = images.find_stand_ins(indices) if isinstance(images, EncodedImages) else indices
    return pixels, images.labels[given]


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
        counted = f"{network.classes} class{'es' * (network.classes != 1)}"
        message = f"{network.address} has {counted}, {data.name} has {len(data.classes)}"
        hint = f"build the network with {len(data.classes)} classes (--classes {len(data.classes)}), or take other data"
        raise DataError(message, hint=hint)


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
        "train": _identify(data.train, looked_at=True),
        "val": _identify(data.val, looked_at=True),
        "test": _identify(data.test, looked_at=False),
    }


def find_changed_split(began_with: Mapping[str, SplitRecord], now: Mapping[str, SplitRecord]) -> str | None:
    """Find the first split that is not the one of before; an image that is or was broken is no change."""
    for name, before in began_with.items():
        after = now[name]
        broken = {each.number for each in (*before.broken, *after.broken)}
        if before.images != after.images:
            return name
        if not before.labels_sha256:  # a record of before
            if before.sha256 != after.sha256:
                return name
            continue
        pixels = {number: after.pixels_sha256.get(number) for number in before.pixels_sha256}
        changed = {number for number, digest in before.pixels_sha256.items() if digest != pixels[number]}
        if before.labels_sha256 != after.labels_sha256 or changed - broken:
            return name
    return None


def list_broken(images: ImageSet) -> tuple[BrokenImage, ...]:
    """List the images of a split that were found broken so far; none where the data source does not tell."""
    from deploy_prune.sources.encoded_images import EncodedImages
    from deploy_prune.sources.images import ArrayImages

    if isinstance(images, EncodedImages):
        return images.list_broken()
    return images.broken if isinstance(images, ArrayImages) else ()


def _identify(images: ImageSet, *, looked_at: bool) -> SplitRecord:
    import numpy as np

    labels = b"" if images.labels is None else np.ascontiguousarray(images.labels, dtype="<i8").tobytes()
    whole, pixels = hashlib.sha256(labels), {}
    if looked_at:
        chosen = np.unique(np.linspace(0, len(images) - 1, DIGESTED).astype(np.int64))
        read = np.ascontiguousarray(images.read(chosen))
        whole.update(read.tobytes())
        pixels = {int(number): hashlib.sha256(each).hexdigest() for number, each in zip(chosen, read, strict=True)}
    return SplitRecord(len(images), whole.hexdigest(), hashlib.sha256(labels).hexdigest(), pixels, list_broken(images))


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
