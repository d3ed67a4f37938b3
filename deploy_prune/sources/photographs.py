"""Photographs of any size as a data set in three splits: what the sources that read folders of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from deploy_prune.errors import ConfigError
from deploy_prune.sources.broken_images import BrokenImages
from deploy_prune.sources.cifar import VAL_SHARE
from deploy_prune.sources.colours import Modes
from deploy_prune.sources.decoding import Framing
from deploy_prune.sources.encoded_images import EncodedImages, Learnt
from deploy_prune.sources.images import Blob, split_indices
from deploy_prune.values import Data, Normalisation

SHARES = (0.60, 0.15, 0.25)  # train, val, test, where the folders do not say
SPLITS = ("train", "val", "test")
DEFAULT_SIZE = (224, 224)
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
Interpolation = Literal["bilinear", "bicubic"]


@dataclass(frozen=True, eq=False)
class Photographs:
    """Images in files, and what their folders say of them."""

    root: Path
    """The folder or tar that they are in."""
    blobs: Sequence[Blob]
    """Where each image is."""
    splits: Sequence[str]
    """The folder's word for each image ("train", "val", "test"); empty: it says nothing."""
    labels: np.ndarray | None = None
    """The number of each image's class, int64 (images,); None: they have no labels."""
    classes: tuple[str, ...] = ()
    """The name of each class, in the order of the labels."""


def make_framing(source: str, size: tuple[int, int] | None, crop: float, interpolation: str) -> Framing:
    """Say how photographs become images of one size.

    Args:
        source: what an error calls the data source.
        size: (height, width) of the images; None: 224 x 224.
        crop: the share of the short side that the centre crop keeps.
        interpolation: one of `FILTERS`.

    Raises:
        ConfigError: no such crop or interpolation.
    """
    if not 0 < crop <= 1 or interpolation not in FILTERS:
        hint = f"crop is in (0, 1]; interpolation one of {', '.join(FILTERS)}"
        raise ConfigError(f"{source} has no crop {crop} with '{interpolation}'", hint=hint)
    return Framing(size or DEFAULT_SIZE, crop, FILTERS[interpolation])


def strip_common_folders(paths: Sequence[list[str]], *, below: int) -> Sequence[list[str]]:
    """Look through every folder that is around all images.

    Args:
        paths: the parts of each image's path, the file's name last.
        below: how many parts each path keeps at the least.
    """
    while len({path[0] for path in paths}) == 1 and min(map(len, paths)) > below:
        paths = [path[1:] for path in paths]
    return paths


def are_splits(folders: set[str]) -> bool:
    """Whether folders are named for the splits of a data set."""
    return "train" in folders and folders <= set(SPLITS)


def open_photographs(
    source: str, photographs: Photographs, *, framing: Framing, normalisation: Normalisation, seed: int
) -> Data:
    """Make a data set of photographs, of which only the names are read; each is decoded whenever it is read.

    Args:
        source: the name of the data source.
        photographs: where the images are, and what is known of them.
        framing: how each becomes an image of one size.
        normalisation: the mean and the standard deviation of the pixels.
        seed: draws the splits that the folders do not make.
    """
    root, blobs, labels = photographs.root, photographs.blobs, photographs.labels
    learnt = Learnt(BrokenImages(root, read_as=framing), Modes())
    learnt.broken.tell_known(blobs)
    train, val, test = (
        EncodedImages([blobs[index] for index in part], None if labels is None else labels[part], framing, learnt)
        for part in _split(np.asarray(photographs.splits), labels, seed=seed)
    )
    return Data(
        name=f"{source}:{root.name}",
        classes=photographs.classes,
        mean=tuple(normalisation.mean),
        std=tuple(normalisation.std),
        image_shape=(3, *framing.size),
        train=train,
        val=val,
        test=test,
        flip=True,
        crop_padding=framing.size[0] // 8,
    )


def _split(splits: np.ndarray, labels: np.ndarray | None, *, seed: int) -> tuple[np.ndarray, ...]:
    """The numbers of the images of train, val and test; `splits` has the folder's word ("train") or "" per image."""
    labels = np.zeros(len(splits), np.int64) if labels is None else labels
    if (splits == "").all():
        return split_indices(labels, SHARES, seed=seed)
    train, val, test = (np.flatnonzero(splits == name) for name in SPLITS)
    if len(val) and len(test):
        return train, val, test
    held_out = test if len(test) else val
    kept, drawn = split_indices(labels[train], (1 - VAL_SHARE, VAL_SHARE), seed=seed)
    return train[kept], train[drawn], held_out
