"""CIFAR-10 and CIFAR-100 as they are found on disk: the binary layout, image folders, or a .tar of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploy_prune.bounded import parse_json, read_text
from deploy_prune.errors import DataError
from deploy_prune.sources.decoding import Framing, decode_all
from deploy_prune.sources.images import ArrayImages, Blob, list_images, split_indices
from deploy_prune.values import BrokenImage, Data

# ImageNet's, as most public CIFAR recipes use them too.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
SIDE = 32
CROP_PADDING = 4
VAL_SHARE = 0.1
VAL_FILE = "val-indices.json"
"""Where it is beside the images: which training images are kept for validation, in order of class, then file name."""


@dataclass(frozen=True)
class Layout:
    """What tells the two sets apart."""

    name: str
    classes: tuple[str, ...]
    """Empty: read from `names_file`, or numbered."""
    count: int
    train_files: str
    test_files: str
    names_file: str
    label_bytes: int
    """Bytes before the pixels of a binary record; the last one is the label."""
    pickles: tuple[str, ...]


@dataclass(frozen=True)
class Choices:
    """What the user may say of how a set is read and split."""

    seed: int
    """Draws the validation images, where no file lists them."""
    gone: tuple[str, ...]
    """Names of images that keep their places and are not used, whether they are there or not."""


def read_cifar(layout: Layout, directory: Path, choices: Choices, *, size: tuple[int, int] | None) -> Data:
    """The data set in one of its layouts.

    Raises:
        DataError: none of the layouts is there, or a file is damaged.
    """
    if not directory.exists():
        raise DataError(f"{directory} does not exist", hint=f"give the folder with {layout.name}")
    if not directory.is_dir() and directory.suffix != ".tar":
        raise DataError(f"{directory} is a file, not a folder", hint=f"give the folder with {layout.name}")
    train, test = _read_binary(layout, directory) or _read_images(layout, directory, choices.gone)
    val_indices = _choose_val(directory, train, seed=choices.seed)
    is_val = np.zeros(len(train.labels), bool)
    is_val[val_indices] = True
    return Data(
        name=layout.name,
        classes=train.classes,
        mean=MEAN,
        std=STD,
        image_shape=(3, *(size or (SIDE, SIDE))),
        train=train.take(~is_val, size),
        val=train.take(is_val, size),
        test=test.take(np.ones(len(test.labels), bool), size),
        flip=True,
        crop_padding=CROP_PADDING,
    )


@dataclass(frozen=True, eq=False)
class _Half:
    pixels: np.ndarray
    labels: np.ndarray
    broken: tuple[BrokenImage | None, ...]
    """What is wrong with each image; None: nothing is."""
    classes: tuple[str, ...]
    sorted_by_name: bool

    def take(self, mask: np.ndarray, size: tuple[int, int] | None) -> ArrayImages:
        """The images of a split, without those that are broken."""
        broken = [each for each, taken in zip(self.broken, mask, strict=True) if each and taken]
        kept = mask & np.asarray([each is None for each in self.broken])
        return ArrayImages(self.pixels[kept], self.labels[kept], size, tuple(broken))


def _choose_val(directory: Path, train: _Half, *, seed: int) -> np.ndarray:
    path = directory / VAL_FILE
    if not (train.sorted_by_name and path.is_file()):
        return split_indices(train.labels, (VAL_SHARE,), seed=seed)[0]
    try:
        indices = np.asarray(parse_json(read_text(path)), dtype=np.int64)
    except (ValueError, TypeError, OverflowError, OSError) as error:
        hint = "it is a JSON list of numbers of training images; remove it for a split by seed"
        raise DataError(f"{path} is not a list of indices: {error}", hint=hint) from error
    images = len(train.labels)
    if indices.ndim != 1 or not len(indices) or indices.min() < 0 or indices.max() >= images:
        message = f"{path} names none, or others than the {images:,} training images that there are"
        raise DataError(message, hint=f"its numbers are from 0 to {images - 1}; remove it for a split by seed")
    return indices


# --- binary layout ---------------------------------------------------------------------------------------------


def _read_binary(layout: Layout, directory: Path) -> tuple[_Half, _Half] | None:
    if not directory.is_dir():
        return None
    for folder in (directory, *sorted(path for path in directory.iterdir() if path.is_dir())):
        train, test = sorted(folder.glob(layout.train_files)), sorted(folder.glob(layout.test_files))
        if train and test:
            return _read_binary_half(layout, train), _read_binary_half(layout, test)
        if train or test:
            lacking = layout.test_files if train else layout.train_files
            raise DataError(f"{folder} holds half of {layout.name}", hint=f"put {lacking} beside the other half")
        if all((folder / name).is_file() for name in layout.pickles):
            message = f"{folder} holds {layout.name} as Python pickles, which can run code and are not opened"
            raise DataError(message, hint=f"take the binary version, or torchvision:{layout.name.upper()}:DIR")
    return None


def _read_binary_half(layout: Layout, paths: list[Path]) -> _Half:
    record = layout.label_bytes + 3 * SIDE * SIDE
    parts = []
    for path in paths:
        raw = np.fromfile(path, np.uint8)
        if not len(raw) or len(raw) % record:
            message = (
                f"{path} is truncated: its {len(raw):,} bytes are no multiple of {record:,}, an image and its label"
            )
            raise DataError(message, hint="copy or download it again")
        parts.append(raw.reshape(-1, record))
    records = np.concatenate(parts)
    labels = records[:, layout.label_bytes - 1].astype(np.int64)
    if labels.max() >= layout.count:
        message = f"{paths[0].parent} has label {labels.max()}, {layout.name} has 0 ... {layout.count - 1}"
        raise DataError(message, hint=f"is this another data set, or a damaged copy of {layout.name}?")
    planes = records[:, layout.label_bytes :].reshape(-1, 3, SIDE, SIDE)
    pixels = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    classes = layout.classes or _read_names(layout, paths[0].parent)
    return _Half(pixels, labels, (None,) * len(labels), classes, sorted_by_name=False)


def _read_names(layout: Layout, folder: Path) -> tuple[str, ...]:
    path = folder / layout.names_file
    names = tuple(path.read_text().split()) if path.is_file() else ()
    return names if len(names) == layout.count else tuple(str(number) for number in range(layout.count))


# --- folders and tars of images --------------------------------------------------------------------------------


def _read_images(layout: Layout, directory: Path, gone: tuple[str, ...]) -> tuple[_Half, _Half]:
    blobs = {blob.name: blob for root in _list_roots(layout, directory) for blob in list_images(root)}
    blobs |= {name: Blob(name, directory / name, length=0) for name in gone}
    halves = {half: _sort_by_class(list(blobs.values()), half) for half in ("train", "test")}
    for half, by_class in halves.items():
        if len(by_class) != layout.count:
            message = f"{directory}: {half}/ has {len(by_class)} class folders, {layout.name} has {layout.count}"
            raise DataError(message, hint="expected train/CLASS/*.jpg and test/CLASS/*.jpg")
    if set(halves["train"]) != set(halves["test"]):
        odd = min(set(halves["train"]) ^ set(halves["test"]))
        message = f"{directory}: train/ and test/ have different classes: '{odd}' is in one of them alone"
        raise DataError(message, hint="name the class folders alike in both")
    return _make_image_half(halves["train"]), _make_image_half(halves["test"])


def _list_roots(layout: Layout, directory: Path) -> list[Path]:
    if directory.is_file() or (directory / "train").is_dir():
        return [directory]
    roots = []
    for half in ("train", "test"):
        tars = sorted(directory.glob(f"*{layout.name}*{half}*.tar"))
        if len(tars) > 1:
            message = f"{directory} holds several {layout.name} tars for {half}: {tars[0].name}, {tars[1].name}"
            raise DataError(message, hint=f"leave one of them, or give the folder of one {layout.name}")
        roots += tars
    if len(roots) == 2:
        return roots
    both = sorted(directory.glob(f"*{layout.name}*.tar"))
    if len(both) == 1:
        return both
    hint = f"expected {layout.train_files}, train/CLASS/*.jpg, or *{layout.name}*train*.tar, each with its test half"
    raise DataError(f"{directory} holds no {layout.name}", hint=hint)


def _sort_by_class(blobs: list[Blob], half: str) -> dict[str, list[Blob]]:
    """Images of `.../half/CLASS/FILE`, classes and files sorted by name."""
    by_class: dict[str, list[Blob]] = {}
    for blob in blobs:
        folders = blob.name.split("/")
        if len(folders) >= 3 and folders[-3] == half:
            by_class.setdefault(folders[-2], []).append(blob)
    return {name: sorted(by_class[name], key=lambda blob: blob.name) for name in sorted(by_class)}


def _make_image_half(by_class: dict[str, list[Blob]]) -> _Half:
    blobs = [blob for members in by_class.values() for blob in members]
    labels = np.repeat(np.arange(len(by_class)), [len(members) for members in by_class.values()])
    pixels, broken = decode_all(blobs, Framing((SIDE, SIDE)))
    return _Half(pixels, labels, broken, tuple(by_class), sorted_by_name=True)
