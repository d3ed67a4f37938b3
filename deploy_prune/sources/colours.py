"""Converts images to 8-bit RGB as their values mean: of any depth, with a palette, with transparency, for print."""

from __future__ import annotations

import logging

import numpy as np
from PIL import Image

logger = logging.getLogger(__name__)

WHITE = (255, 255, 255)
"""What is seen through transparent pixels."""
SIXTEEN_BITS = frozenset(("PNG", "PPM"))
"""Formats whose 32-bit mode ("I") holds 16-bit values, from 0 to 65,535."""


def convert_to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image that was just opened to 8-bit RGB; one that is RGB already is given back as it is.

    Of 16 bits the upper 8 count, in grey as in colour. Transparent pixels show white.

    Raises:
        ValueError: nothing says which of its values is white, or Pillow knows no way to RGB.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in SIXTEEN_BITS):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"it has 32-bit values (mode {image.mode}), and nothing says which of them is white")
    if image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        seen = Image.new("RGB", image.size, WHITE)
        seen.paste(image, mask=image.getchannel("A"))
        return seen
    return image if image.mode == "RGB" else image.convert("RGB")


IN_WORDS = {
    "1": "black and white",
    "L": "grey",
    "LA": "grey with transparency",
    "P": "a palette's colours",
    "RGBA": "RGB with transparency",
    "I;16": "16-bit grey",
    "I;16B": "16-bit grey",
    "I": "16-bit grey",
}
"""What Pillow calls a mode -> what people call it, where that differs."""


class Modes:
    """The modes in which the images of a data set came so far. Not a value: it learns."""

    def __init__(self) -> None:
        """Know of none."""
        self._first: dict[str, str] = {}

    def meet(self, mode: str, name: str) -> None:
        """Log once that there are several, when the second is met; `name` is the image's."""
        if mode in self._first:
            return
        self._first[mode] = name
        if len(self._first) == 2:
            (mode, name), (other, other_name) = self._first.items()
            logger.warning(
                "images are not all of one kind (%s is %s, %s is %s): each is converted to 8-bit RGB",
                name, IN_WORDS.get(mode, mode), other_name, IN_WORDS.get(other, other),
            )  # fmt: skip
