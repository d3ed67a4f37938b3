"""Makes the pixels that a network takes of an image's bytes, in bounded memory whatever the image is."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition

import numpy as np
from PIL import Image

from deploy_prune.errors import DataError
from deploy_prune.sources.colours import Modes, convert_to_rgb
from deploy_prune.sources.images import Blob
from deploy_prune.values import BrokenImage

logger = logging.getLogger(__name__)

THREADS = 4  # Pillow releases the interpreter's lock while it decodes
LARGEST_PIXELS = 1 << 26
"""The pixels (67 million) that an image may have, as it is and as it is scaled; also those that are decoded at once."""
LARGEST_BYTES = 1 << 27
"""The bytes (134 million) that an image may take in its file."""
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "PPM", "GIF", "TIFF")
"""What is decoded, whatever a file's name ends in; Pillow's other formats run programs, or are no photographs."""
UNDECODABLE, NO_BYTES = "cannot be decoded", "is empty, or gone"
NAMED = 5
"""How many broken images are named in one line."""


@dataclass(frozen=True)
class Framing:
    """How a photograph becomes `size` (height, width): scale until it covers size / crop, cut out the centre."""

    size: tuple[int, int]
    """The height and width of the result, in pixels."""
    crop: float = 1.0
    """The share of the short side that is cut out, above 0 and at most 1; 0.875 is usual for ImageNet."""
    interpolation: Image.Resampling = Image.Resampling.BILINEAR
    """How Pillow computes the pixels between pixels."""

    def scale(self, width: int, height: int) -> tuple[int, int]:
        """Give the width and height, in pixels, to which an image of this width and height is scaled."""
        scale = max(self.size[0] / height, self.size[1] / width) / self.crop
        return max(self.size[1], round(width * scale)), max(self.size[0], round(height * scale))

    def apply(self, image: Image.Image) -> np.ndarray:
        """Frame an RGB image: uint8 (height, width, 3)."""
        height, width = self.size
        scaled = self.scale(image.width, image.height)
        if scaled != image.size:
            image = image.resize(scaled, self.interpolation)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        return np.asarray(image.crop((left, top, left + width, top + height)))


@dataclass(frozen=True, eq=False)
class Decoded:
    """An image as a network takes it."""

    pixels: np.ndarray
    """The image, uint8 (height, width, 3)."""
    mode: str
    """What it was in its file, as Pillow calls it: "RGB", "L", ..."""


@dataclass(frozen=True)
class Broken:
    """An image that is not used."""

    why: str
    """What is wrong with it, as it is said after its name."""


def decode(blob: Blob, framing: Framing) -> Decoded | Broken:
    """What becomes of an image, or why nothing does: it cannot be read or decoded, or is too large."""
    try:
        return _decode(_read(blob), framing)
    except _UnusableError as error:
        return Broken(str(error))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 (decoders end in any error where bytes are not what they should be)
        return Broken(UNDECODABLE)


def decode_in_order(blobs: Sequence[Blob], framing: Framing) -> Iterator[Decoded | Broken]:
    """What becomes of each image, in their order, a few at once."""
    with ThreadPoolExecutor(THREADS) as pool, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")  # of doubts about headers: what is broken is named here
        # In slices: `map` would otherwise queue, and so keep, every decoded image of a large set.
        for start in range(0, len(blobs), 1024):
            yield from pool.map(lambda blob: decode(blob, framing), blobs[start : start + 1024])


def decode_all(blobs: Sequence[Blob], framing: Framing) -> tuple[np.ndarray, tuple[BrokenImage | None, ...]]:
    """All images in memory, uint8 (images, h, w, 3), and what is wrong with each; None: nothing is.

    Logs how many are broken, and the first few names.

    Raises:
        DataError: all are.
    """
    pixels, broken, modes = np.zeros((len(blobs), *framing.size, 3), np.uint8), [], Modes()
    for index, (blob, image) in enumerate(zip(blobs, decode_in_order(blobs, framing), strict=True)):
        if isinstance(image, Decoded):
            modes.meet(image.mode, blob.name)
            pixels[index] = image.pixels
        broken.append(BrokenImage(blob.name, image.why) if isinstance(image, Broken) else None)
    _report_broken([each for each in broken if each], len(blobs))
    return pixels, tuple(broken)


def _report_broken(broken: Sequence[BrokenImage], images: int) -> None:
    if not broken:
        return
    if len(broken) == images:
        message = f"none of the {images} images can be used: {broken[0].name} {broken[0].why}"
        raise DataError(message, hint="are they whole, and of a type that Pillow reads? Copy or download them again")
    shown = ", ".join(f"{each.name} {each.why}" for each in broken[:NAMED])
    logger.warning("skipped %d of %d images: %s%s", len(broken), images, shown, ", ..." * (len(broken) > NAMED))


class _UnusableError(Exception):
    """It says what is wrong with an image, as it is said after its name."""


def _read(blob: Blob) -> bytes:
    if blob.length == 0:
        raise _UnusableError(NO_BYTES)
    if blob.length > LARGEST_BYTES:
        raise _UnusableError(f"has {blob.length:,} bytes, more than {LARGEST_BYTES:,}")
    try:
        encoded = blob.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise _UnusableError(f"cannot be read: {error.strerror or error}") from error
    if len(encoded) > LARGEST_BYTES:
        raise _UnusableError(f"has more than {LARGEST_BYTES:,} bytes")
    return encoded


def _decode(encoded: bytes, framing: Framing) -> Decoded:
    """Decode an image of which only the header was read before its size is known to be bearable."""
    with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
        scaled, mode = framing.scale(image.width, image.height), image.mode
        for (width, height), how in ((image.size, "is"), (scaled, "has to be scaled to")):
            if width * height > LARGEST_PIXELS:
                raise _UnusableError(f"{how} {width:,}x{height:,} pixels, more than {LARGEST_PIXELS:,}")
        with _AT_ONCE.take(max(image.width * image.height, scaled[0] * scaled[1])):
            return Decoded(framing.apply(convert_to_rgb(image)), mode)


class _Allowance:
    """What all threads of a process may use at once. Not a value: it is used and given back."""

    def __init__(self, amount: int) -> None:
        self._left = amount
        self._changed = Condition()

    @contextmanager
    def take(self, amount: int) -> Iterator[None]:
        """Wait until so much is left, and use it."""
        with self._changed:
            self._changed.wait_for(lambda: self._left >= amount)
            self._left -= amount
        try:
            yield
        finally:
            with self._changed:
                self._left += amount
                self._changed.notify_all()


_AT_ONCE = _Allowance(LARGEST_PIXELS)
