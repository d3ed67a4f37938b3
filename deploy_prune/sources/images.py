"""Images in memory, in folders or in a tar (which is never extracted), and how they are split."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from deploy_prune.errors import DataError
from deploy_prune.values import BrokenImage

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm"))


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Images in memory, resized when they are read if another size is asked for."""

    pixels: np.ndarray
    """The images, uint8 (images, height, width, channels)."""
    labels: np.ndarray | None = None
    """The number of each image's class, int64 (images,); None: they have no labels."""
    size: tuple[int, int] | None = None
    """The height and width, in pixels, that `read` gives; None: those of `pixels`."""
    broken: tuple[BrokenImage, ...] = ()
    """Images of the split that are not among these, as they could not be read."""

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """See `values.ImageSet`."""
        taken = self.pixels[indices]
        return taken if self.size in (None, taken.shape[1:3]) else resize(taken, self.size)


@dataclass(frozen=True)
class Blob:
    """One encoded image: a whole file, or `length` bytes of a tar."""

    name: str
    """Its path below the root, with forward slashes."""
    path: Path
    """The file that its bytes are in: the image itself, or the tar."""
    offset: int = 0
    """The byte of that file at which the image begins."""
    length: int = -1
    """How many bytes it has; -1: all to the end of the file; 0: it is empty, or not there any more."""

    def read(self, most: int) -> bytes:
        """Read the encoded bytes, but no more than so many.

        Raises:
            OSError: the file is not there any more, cannot be read, or is a pipe or device, which might never end.
        """
        if not stat.S_ISREG(self.path.stat().st_mode):
            raise OSError("it is no regular file")
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(most if self.length < 0 else min(most, self.length))


def list_images(root: Path, gone: Iterable[str] = ()) -> list[Blob]:
    """The image files below a folder, or in an uncompressed .tar, sorted by name.

    Args:
        root: the folder or tar.
        gone: names of images that keep their places, whether they are there or not.

    Raises:
        DataError: there is no such folder or tar, it cannot be read, or holds no image.
    """
    blobs = _list_folder(root) if root.is_dir() else _list_tar(root)
    images = sorted((blob for blob in blobs if _is_image(blob.name)), key=lambda blob: blob.name)
    if missing := set(gone) - {blob.name for blob in images}:
        images = sorted((*images, *(Blob(name, root / name, length=0) for name in missing)), key=lambda blob: blob.name)
    if not images:
        raise DataError(f"{root} holds no images", hint=f"images end in {', '.join(sorted(SUFFIXES))}")
    return images


def split_indices(labels: np.ndarray, shares: Sequence[float], *, seed: int) -> tuple[np.ndarray, ...]:
    """Sorted indices of one part per share, each with its share of every class (to within about two images).

    Shares of less than 1 in sum leave images over. Images are shuffled within their class, classes are laid in a
    row, and an image's place in the row decides its part; so classes with a single image are spread over the
    parts too.
    """
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    row = shuffled[np.argsort(labels[shuffled], kind="stable")]
    # The golden ratio's multiples fill [0, 1) evenly at every length, so every class gets every share.
    position = (np.arange(len(row)) * 0.6180339887498949) % 1.0
    edges = np.concatenate(([0.0], np.cumsum(shares)))
    edges[-1] += 1e-9
    parts = ((position >= low) & (position < high) for low, high in pairwise(edges))
    return tuple(np.sort(row[part]) for part in parts)


def resize(pixels: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """Bilinear, image by image: uint8 (images, h, w, channels) -> (images, *size, channels)."""
    assert size
    out = np.empty((len(pixels), *size, pixels.shape[3]), np.uint8)
    for index, image in enumerate(pixels):
        out[index] = np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR))
    return out


def _list_folder(root: Path) -> Iterator[Blob]:
    """Every file below a folder by its name alone: with a million of them, asking each what it is takes minutes."""
    for folder, _, names in os.walk(root):
        below = Path(folder).relative_to(root).as_posix()
        prefix = "" if below == "." else f"{below}/"
        for name in names:
            if _is_image(name):
                yield Blob(prefix + name, Path(folder, name))


def _list_tar(path: Path) -> list[Blob]:
    if not path.is_file():
        raise DataError(f"{path} does not exist", hint="give a folder or a .tar of images")
    if path.suffix != ".tar" and not _begins_as_tar(path):
        hint = "give the folder that the images are in, or an uncompressed .tar of it"
        raise DataError(f"{path} is a file, not a folder of images", hint=hint)
    try:
        # "r:" refuses compression: images are read in place, by offset.
        with tarfile.open(path, "r:") as tar:
            members = [member for member in tar if member.isreg() and not member.sparse]
    except Exception as error:  # bytes that are no tar can end in any error of the reader
        hint = "copy it again if it is damaged; a compressed tar must be unpacked"
        raise DataError(f"{path} is no readable .tar: {error}", hint=hint) from error
    return [Blob(member.name.removeprefix("./"), path, member.offset_data, member.size) for member in members]


def _begins_as_tar(path: Path) -> bool:
    """Whether a file has the mark of a tar, whatever it is called."""
    with path.open("rb") as file:
        return file.read(262)[257:] == b"ustar"


def _is_image(name: str) -> bool:
    pure = PurePosixPath(name)
    return pure.suffix.lower() in SUFFIXES and not pure.name.startswith(".")
