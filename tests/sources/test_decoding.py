"""Images are decoded and framed in bounded memory; what cannot be is said to be broken, with its own reason."""

from __future__ import annotations

import io
import os
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy_prune.errors import DataError
from deploy_prune.sources.decoding import (
    LARGEST_BYTES,
    Broken,
    Decoded,
    Framing,
    _Allowance,
    decode,
    decode_all,
    decode_in_order,
)
from deploy_prune.sources.images import Blob, list_images


def encoded(colour: str, size: tuple[int, int] = (8, 6), kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header says so, in black and white, and whose pixels end after one byte."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_framing_scales_to_cover_and_cuts_the_centre() -> None:
    # 40 wide, 10 high: left half red, right half blue; the centre square of 10 is half and half.
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, :20, 0] = wide[:, 20:, 2] = 255
    assert np.array_equal(Framing((10, 10)).apply(Image.fromarray(wide)), wide[:, 15:25])


@pytest.mark.parametrize("size", [(5, 5), (7, 3), (3, 12)])
def test_framing_gives_any_size(size: tuple[int, int]) -> None:
    assert Framing(size, crop=0.875).apply(Image.new("RGB", (8, 6))).shape == (*size, 3)


@pytest.mark.parametrize(
    ("width", "height", "why"),
    [
        (1, 10_000_000, "has to be scaled to 8x80,000,000 pixels, more than 67,108,864"),
        (13_300, 13_300, "is 13,300x13,300 pixels, more than 67,108,864"),
        (2**31 - 1, 2**31 - 1, "cannot be decoded"),
        (4_000, 4_000, "cannot be decoded"),
    ],
)
@pytest.mark.filterwarnings("ignore:Image size")
def test_an_image_that_is_too_large_is_refused_by_its_header(tmp_path: Path, width: int, height: int, why: str) -> None:
    (tmp_path / "a.png").write_bytes(png_of_size(width, height))
    assert decode(Blob("a.png", tmp_path / "a.png"), Framing((6, 8))) == Broken(why)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "images.tar").open("wb") as file:
        file.truncate(LARGEST_BYTES + 2)
    framing = Framing((6, 8))
    for length, why in ((6_000_000_000, "has 6,000,000,000 bytes, more than 134,217,728"), (0, "is empty, or gone")):
        assert decode(Blob("a.png", tmp_path / "images.tar", 512, length), framing) == Broken(why)
    assert decode(Blob("a.png", tmp_path / "images.tar"), framing) == Broken("has more than 134,217,728 bytes")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    blobs = [Blob("pipe.png", tmp_path / "pipe.png"), Blob("gone.png", tmp_path / "gone.png")]
    reasons = ["cannot be read: it is no regular file", "cannot be read: No such file or directory"]
    assert [decode(blob, Framing((6, 8))) for blob in blobs] == [Broken(why) for why in reasons]


def test_a_program_is_not_run_for_an_image(tmp_path: Path) -> None:
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    assert decode(Blob("a.png", tmp_path / "a.png"), Framing((6, 8))) == Broken("cannot be decoded")


@pytest.mark.parametrize("damage", [b"no image at all", encoded("red", (64, 64), "JPEG")[:-90]])
def test_a_broken_image_is_skipped_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes) -> None:
    (tmp_path / "good.png").write_bytes(encoded("red"))
    (tmp_path / "bad.jpg").write_bytes(damage)
    pixels, broken = decode_all(list_images(tmp_path), Framing((6, 8)))
    assert [each and each.why for each in broken] == ["cannot be decoded", None]
    assert pixels[1, 0, 0].tolist() == [255, 0, 0]
    assert caplog.messages == ["skipped 1 of 2 images: bad.jpg cannot be decoded"]


def test_nothing_but_broken_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"none of the 1 images can be used: bad\.jpg cannot be decoded"):
        decode_all(list_images(tmp_path), Framing((6, 8)))


def test_what_was_in_the_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded("red"))
    image = decode(Blob("a.png", tmp_path / "a.png"), Framing((6, 8)))
    assert isinstance(image, Decoded)
    assert image.mode == "RGB"


def test_threads_wait_until_enough_is_left() -> None:
    allowance, at_once, most = _Allowance(10), 0, 0
    lock = threading.Lock()

    def use() -> None:
        nonlocal at_once, most
        with allowance.take(4):
            with lock:
                at_once += 4
                most = max(most, at_once)
            time.sleep(0.01)
            with lock:
                at_once -= 4

    threads = [threading.Thread(target=use) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 8


def test_doubts_of_pillow_are_not_printed(tmp_path: Path) -> None:
    """Pillow warns of 100 million pixels, and warnings are errors here."""
    (tmp_path / "a.png").write_bytes(png_of_size(10_000, 10_000))
    (image,) = decode_in_order([Blob("a.png", tmp_path / "a.png")], Framing((6, 8)))
    assert image == Broken("is 10,000x10,000 pixels, more than 67,108,864")
