"""One folder of images per class, or images without labels in one folder, or a .tar of either: `imagefolder:DIR`.

`CLASS/...` is split by seed; `train/`, `val/` and `test/` above the classes are taken as they are. Without a
`test/`, `val/` is the test set (as with ImageNet) and validation images are drawn out of `train/`. Images that lie in
no class folder (`DIR/*.jpg`, or `DIR/train/*.jpg` and so on) have no labels, and are split in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy_prune.errors import DataError
from deploy_prune.setting_rules import Seed
from deploy_prune.sources.cifar import MEAN, STD
from deploy_prune.sources.datasets import DataSource
from deploy_prune.sources.images import Blob, list_images
from deploy_prune.sources.photographs import (
    Interpolation,
    Photographs,
    are_splits,
    make_framing,
    open_photographs,
    strip_common_folders,
)
from deploy_prune.values import Data, Normalisation

LAYOUTS = "expected CLASS/*.jpg or train/CLASS/*.jpg with two classes or more, or images without any folder"


@dataclass(frozen=True)
class ImageFolder:
    """Photographs of any size, of which only the names are read at the start; each is decoded whenever it is read."""

    seed: Seed = 0
    """Draws the splits that the folders do not make."""
    crop: float = 0.875
    """Share of the short side that the centre crop keeps (224 of 256)."""
    interpolation: Interpolation = "bilinear"
    """How images are scaled."""
    mean: tuple[float, ...] = MEAN
    """The mean of the pixels, which go from 0 to 1, per channel; `std` is their standard deviation."""
    std: tuple[float, ...] = STD
    """The same for the standard deviation."""
    numbered: int = 0
    """Classes in all, where folder names start with the class number (`007_cock`); 0: names are sorted."""
    gone: tuple[str, ...] = ()
    """Names of broken images that keep their places in the splits when they are taken out of the folder."""

    def __post_init__(self) -> None:
        make_framing("imagefolder", None, self.crop, self.interpolation)

    def read(self, rest: str, *, size: tuple[int, int] | None) -> Data:
        """See the contract."""
        root = Path(rest)
        placed = _place(root, list_images(root, self.gone))
        labels, classes = _label(root, [name for _, name, _ in placed], self.numbered)
        splits, blobs = [split for split, _, _ in placed], [blob for _, _, blob in placed]
        return open_photographs(
            "imagefolder",
            Photographs(root, blobs, splits, labels, classes),
            framing=make_framing("imagefolder", size, self.crop, self.interpolation),
            normalisation=Normalisation(self.mean, self.std),
            seed=self.seed,
        )


def _place(root: Path, blobs: list[Blob]) -> list[tuple[str, str, Blob]]:
    """(split or "", class or "", image) of each image; one folder around everything is looked through."""
    parts = strip_common_folders([blob.name.split("/") for blob in blobs], below=2)
    depth = 1 if are_splits({part[0] for part in parts if len(part) > 1}) else 0
    if all(len(part) == depth + 1 for part in parts):
        return [(part[0] if depth else "", "", blob) for part, blob in zip(parts, blobs, strict=True)]
    placed = [
        (part[0] if depth else "", part[depth], blob)
        for part, blob in zip(parts, blobs, strict=True)
        if len(part) > depth + 1
    ]
    names = {name for _, name, _ in placed}
    if len(names) == 1:
        message = f"all images of {root} are of one class, '{names.pop()}', and there is nothing to tell apart"
        hint = f"add a folder for every other class; or prune without labels: --data images:{root}"
        raise DataError(message, hint=hint)
    if not names:
        raise DataError(f"{root} has no class folders", hint=LAYOUTS)
    return placed


def _label(root: Path, names: list[str], numbered: int) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The labels of the images, int64 (images,), and the names of all classes; `names` has the class of each image.

    Raises:
        DataError: the folders' numbers are not those of so many classes.
    """
    if not any(names):
        if numbered:
            raise DataError(f"{root} has no class folders, and so no {numbered} classes", hint="leave out `numbered`")
        return None, ()
    folders = sorted(set(names))
    number = _number_classes(root, folders, numbered)
    name_of = {number[name]: name for name in folders}
    classes = tuple(name_of.get(index, "") for index in range(numbered or len(folders)))
    return np.asarray([number[name] for name in names], np.int64), classes


def _number_classes(root: Path, names: list[str], numbered: int) -> dict[str, int]:
    if not numbered:
        return {name: index for index, name in enumerate(names)}
    try:
        numbers = {name: int(name.partition("_")[0]) for name in names}
    except ValueError as error:
        hint = "name them like 3_dog, or leave out `numbered`: classes are then in the order of their names"
        raise DataError(f"{root}: not every folder name starts with a class number: {error}", hint=hint) from error
    if max(numbers.values()) >= numbered:
        message = f"{root} has a folder with class number {max(numbers.values())}, of {numbered} classes"
        raise DataError(message, hint=f"they count from 0 to {numbered - 1}")
    return numbers


plugin: type[DataSource] = ImageFolder
