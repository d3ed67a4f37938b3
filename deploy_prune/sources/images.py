"""Images in memory, in folders or in a tar (which is never extracted), and how they are split."""

from __future__ import annotations

import io
import logging
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from deploy_prune.errors import DataError

logger = logging.getLogger(__name__)

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm"))
THREADS = 4  # Pillow releases the interpreter's lock while it decodes
# What Pillow raises for bytes that are no image, or not a whole one.
BROKEN = (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError)
NAMED_WHEN_SKIPPED = 5


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Images in memory, resized when they are read if another size is asked for."""

    pixels: np.ndarray
    """The images, uint8 (images, height, width, channels)."""
    labels: np.ndarray | None = None
    """The number of each image's class, int64 (images,); None: they have no labels."""
    size: tuple[int, int] | None = None
    """The height and width, in pixels, that `read` gives; None: those of `pixels`."""

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
    """How many bytes it has; -1: all to the end of the file."""

    def read(self) -> bytes:
        """Read the encoded bytes."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.length)


@dataclass(frozen=True)
class Framing:
    """How a photograph becomes `size` (height, width): scale until it covers size / crop, cut out the centre."""

    size: tuple[int, int]
    """The height and width of the result, in pixels."""
    crop: float = 1.0
    """The share of the short side that is cut out, above 0 and at most 1; 0.875 is usual for ImageNet."""
    interpolation: Image.Resampling = Image.Resampling.BILINEAR
    """How Pillow computes the pixels between pixels."""

    def apply(self, encoded: bytes) -> np.ndarray:
        """Decode an image and frame it: uint8 (height, width, 3)."""
        with Image.open(io.BytesIO(encoded)) as opened:
            image = opened.convert("RGB")
        height, width = self.size
        scale = max(height / image.height, width / image.width) / self.crop
        if scale != 1:
            scaled = max(width, round(image.width * scale)), max(height, round(image.height * scale))
            image = image.resize(scaled, self.interpolation)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        return np.asarray(image.crop((left, top, left + width, top + height)))


def list_images(root: Path) -> list[Blob]:
    """The image files below a folder, or in an uncompressed .tar, sorted by name.

    Raises:
        DataError: there is no such folder or tar, it cannot be read, or holds no image.
    """
    blobs = _list_folder(root) if root.is_dir() else _list_tar(root)
    images = sorted((blob for blob in blobs if _is_image(blob.name)), key=lambda blob: blob.name)
    if not images:
        raise DataError(f"{root} holds no images", hint=f"images end in {', '.join(sorted(SUFFIXES))}")
    return images


def decode_all(blobs: Sequence[Blob], framing: Framing) -> tuple[np.ndarray, np.ndarray]:
    """All images in memory, and which of them could be decoded: uint8 (images, h, w, 3), bool (images,)."""
    pixels = np.zeros((len(blobs), *framing.size, 3), np.uint8)

    def place() -> Iterator[np.ndarray | None]:
        for index, image in enumerate(decode_in_order(blobs, lambda blob: decode(blob, framing.apply))):
            if image is not None:
                pixels[index] = image
            yield image

    return pixels, report_broken(blobs, place())


def decode(blob: Blob, work: Callable[[bytes], np.ndarray]) -> np.ndarray | None:
    """What becomes of an image's bytes; None where they are no image, not a whole one, or cannot be read."""
    try:
        return work(blob.read())
    except BROKEN:
        return None


def decode_in_order(blobs: Sequence[Blob], work: Callable[[Blob], np.ndarray | None]) -> Iterator[np.ndarray | None]:
    """What `work` makes of each image, in their order, a few at once."""
    with ThreadPoolExecutor(THREADS) as pool:
        # In slices: `map` would otherwise queue, and so keep, every decoded image of a large set.
        for start in range(0, len(blobs), 1024):
            yield from pool.map(work, blobs[start : start + 1024])


def report_broken(blobs: Sequence[Blob], results: Iterable[object]) -> np.ndarray:
    """Which results are there: bool (images,). Logs how many are not, and the first few names.

    Raises:
        DataError: none is.
    """
    whole = np.fromiter((result is not None for result in results), bool, len(blobs))
    broken = [blob.name for blob, good in zip(blobs, whole, strict=True) if not good]
    if len(broken) == len(blobs):
        message = f"none of the {len(blobs)} images can be decoded, such as {broken[0]}"
        raise DataError(message, hint="are they whole, and of a type that Pillow reads? Copy or download them again")
    if broken:
        shown = ", ".join(broken[:NAMED_WHEN_SKIPPED])
        more = "" if len(broken) <= NAMED_WHEN_SKIPPED else ", ..."
        logger.warning("skipped %d of %d images that cannot be decoded: %s%s", len(broken), len(blobs), shown, more)
    return whole


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
    try:
        # "r:" refuses compression: images are read in place, by offset.
        with tarfile.open(path, "r:") as tar:
            members = [member for member in tar if member.isreg() and not member.sparse]
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{path} is no readable .tar: {error}", hint="a compressed tar must be unpacked") from error
    return [Blob(member.name.removeprefix("./"), path, member.offset_data, member.size) for member in members]


def _is_image(name: str) -> bool:
    pure = PurePosixPath(name)
    return pure.suffix.lower() in SUFFIXES and not pure.name.startswith(".")
