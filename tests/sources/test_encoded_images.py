"""Images are decoded when they are read, and a broken one has the same stand-in in every epoch and process."""

from __future__ import annotations

import io
import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy_prune.errors import DataError
from deploy_prune.sources.broken_images import BrokenImages
from deploy_prune.sources.encoded_images import EncodedImages
from deploy_prune.sources.images import Framing, list_images

LABELS = np.array([0, 0, 0, 1, 1])


def encoded(level: int, kind: str = "PNG", size: tuple[int, int] = (8, 6)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(buffer, kind)
    return buffer.getvalue()


def image_set(root: Path, cache: Path, labels: np.ndarray | None = LABELS) -> EncodedImages:
    return EncodedImages(list_images(root), labels, Framing((6, 8)), BrokenImages(root, cache))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five images whose pixels are 0, 10, 20, 30 and 40."""
    (tmp_path / "root").mkdir()
    for index in range(5):
        (tmp_path / "root" / f"{index}.png").write_bytes(encoded(10 * index))
    return tmp_path / "root"


def levels(images: EncodedImages, *indices: int) -> list[int]:
    return [int(level) for level in images.read(np.array(indices))[:, 0, 0, 0]]


def test_images_are_given_in_the_order_asked_for(root: Path, tmp_path: Path) -> None:
    assert levels(image_set(root, tmp_path), 4, 0, 2, 2) == [40, 0, 20, 20]


@pytest.mark.parametrize("damage", [b"no image at all", b"", encoded(99, "JPEG", (64, 64))[:-90]])
def test_the_next_whole_image_of_its_class_stands_in_for_a_broken_one(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    (root / "1.png").write_bytes(damage)
    images = image_set(root, tmp_path / "cache")
    with caplog.at_level(logging.WARNING):
        assert levels(images, 0, 1, 1, 3) == [0, 20, 20, 30]
        assert levels(images, 1) == [20]
    assert caplog.messages == ["1.png cannot be decoded: 2.png stands in for it"]


def test_after_the_last_image_of_a_class_comes_its_first(root: Path, tmp_path: Path) -> None:
    for name in ("2.png", "4.png"):
        (root / name).write_bytes(b"broken")
    assert levels(image_set(root, tmp_path), 2, 4) == [0, 30]
    assert levels(image_set(root, tmp_path, labels=None), 2, 4) == [30, 0]


def test_the_stand_in_does_not_depend_on_the_order_or_on_what_is_known(root: Path, tmp_path: Path) -> None:
    for name in ("0.png", "1.png"):
        (root / name).write_bytes(b"broken")
    one, other = image_set(root, tmp_path / "a"), image_set(root, tmp_path / "b")
    assert levels(one, 1, 0) == levels(other, 0, 1) == levels(image_set(root, tmp_path / "a"), 0, 1) == [20, 20]


def test_a_second_start_does_not_open_what_is_known_to_be_broken(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "1.png").write_bytes(b"broken")
    levels(image_set(root, tmp_path / "cache"), 1)
    caplog.clear()
    assert levels(image_set(root, tmp_path / "cache"), 1) == [20]
    assert not caplog.messages


def test_a_class_without_a_whole_image_is_refused(root: Path, tmp_path: Path) -> None:
    for name in ("3.png", "4.png"):
        (root / name).write_bytes(b"broken")
    images = image_set(root, tmp_path)
    assert levels(images, 0) == [0]
    with pytest.raises(DataError, match=r"3\.png cannot be decoded, nor can any other image of its class"):
        images.read(np.array([3]))


def test_another_process_gets_what_this_one_has_learnt(root: Path, tmp_path: Path) -> None:
    (root / "1.png").write_bytes(b"broken")
    images = image_set(root, tmp_path / "cache")
    levels(images, 1)
    assert levels(pickle.loads(pickle.dumps(images)), 1, 4) == [20, 40]
