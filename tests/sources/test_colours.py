"""Images are converted as their values mean, and that they are of several kinds is said once."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from deploy_prune.sources.colours import Modes, convert_to_rgb

LEVELS = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
"""16-bit grey; its upper bytes are 0, 0, 1, 128 and 255."""


def reopened(image: Image.Image, kind: str = "PNG", **keywords: object) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, kind, **keywords)
    return Image.open(io.BytesIO(buffer.getvalue()))


def pixels(image: Image.Image) -> list[list[int]]:
    converted = convert_to_rgb(image)
    assert converted.mode == "RGB"
    return np.asarray(converted)[0].tolist()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_and_not_clipped(kind: str) -> None:
    assert pixels(reopened(Image.fromarray(LEVELS), kind)) == [[level] * 3 for level in (0, 0, 1, 128, 255)]


def test_a_portable_grey_map_says_what_is_white() -> None:
    content = b"P5\n3 1\n1000\n" + np.array([0, 500, 1000], ">u2").tobytes()
    assert pixels(Image.open(io.BytesIO(content))) == [[0] * 3, [128] * 3, [255] * 3]


def test_16_bit_colour_keeps_its_upper_bytes() -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    header = (1).to_bytes(4, "big") * 2 + bytes((16, 2, 0, 0, 0))
    row = zlib.compress(b"\0" + np.array([0x1234, 0x80FF, 0xFFFF], ">u2").tobytes())
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", row) + chunk(b"IEND", b"")
    assert pixels(Image.open(io.BytesIO(content))) == [[0x12, 0x80, 0xFF]]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_values_without_a_white_are_refused(mode: str) -> None:
    with pytest.raises(ValueError, match="nothing says which of them is white"):
        convert_to_rgb(reopened(Image.new(mode, (2, 1)), "TIFF"))


def test_a_palette_gives_its_colours_and_white_where_it_is_transparent() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([0, 1, 2])
    assert pixels(reopened(image)) == [[10, 20, 30], [40, 50, 60], [70, 80, 90]]
    assert pixels(reopened(image, transparency=1)) == [[10, 20, 30], [255, 255, 255], [70, 80, 90]]


def test_white_is_seen_through_transparent_pixels() -> None:
    image = Image.new("RGBA", (3, 1))
    image.putdata([(200, 0, 0, 255), (200, 0, 0, 0), (200, 0, 0, 128)])
    assert pixels(reopened(image)) == [[200, 0, 0], [255, 255, 255], [227, 127, 127]]
    grey = Image.new("LA", (2, 1))
    grey.putdata([(7, 255), (7, 0)])
    assert pixels(reopened(grey)) == [[7, 7, 7], [255, 255, 255]]


def test_black_and_white_and_grey_are_what_they_are() -> None:
    image = Image.new("1", (2, 1))
    image.putdata([0, 255])
    assert pixels(reopened(image)) == [[0] * 3, [255] * 3]
    assert pixels(reopened(Image.new("L", (1, 1), 77))) == [[77] * 3]


def test_print_colours_are_inverted() -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    (red, green, blue), *_ = pixels(reopened(image, "JPEG", quality=100))
    assert red > 250
    assert max(green, blue) < 5


def test_rgb_is_not_copied() -> None:
    image = Image.new("RGB", (2, 2))
    assert convert_to_rgb(image) is image


def test_several_kinds_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    modes = Modes()
    for mode, name in (("RGB", "a.png"), ("RGB", "b.png"), ("L", "c.png"), ("CMYK", "d.png"), ("L", "e.png")):
        modes.meet(mode, name)
    assert caplog.messages == [
        "images are not all of one kind (a.png is RGB, c.png is grey): each is converted to 8-bit RGB"
    ]
