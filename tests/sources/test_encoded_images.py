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
from deploy_prune.sources.colours import Modes
from deploy_prune.sources.data import read_labelled
from deploy_prune.sources.decoding import Framing
from deploy_prune.sources.encoded_images import EncodedImages, Learnt
from deploy_prune.sources.images import list_images
from deploy_prune.values import BrokenImage

LABELS = np.array([0, 0, 0, 1, 1])


def encoded(level: int, kind: str = "PNG", size: tuple[int, int] = (8, 6)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(buffer, kind)
    return buffer.getvalue()


def image_set(root: Path, cache: Path, labels: np.ndarray | None = LABELS) -> EncodedImages:
    return EncodedImages(list_images(root), labels, Framing((6, 8)), Learnt(BrokenImages(root, cache), Modes()))


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


def test_where_its_class_has_no_whole_image_the_next_one_stands_in_with_its_own_label(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("3.png", "4.png"):
        (root / name).write_bytes(b"broken")
    pixels, labels = read_labelled(image_set(root, tmp_path / "cache"), np.array([3, 0, 4]))
    assert pixels[:, 0, 0, 0].tolist() == [0, 0, 0]
    assert labels is not None
    assert labels.tolist() == [0, 0, 0]
    assert caplog.messages[0] == "3.png cannot be decoded: 0.png stands in for it"


def test_a_split_without_a_whole_image_is_refused_and_goes_on_when_they_are_back(root: Path, tmp_path: Path) -> None:
    for path in root.iterdir():
        path.write_bytes(b"broken")
    images = image_set(root, tmp_path)
    with pytest.raises(
        DataError, match=r"3\.png cannot be decoded, and no other image of this split can be used"
    ) as told:
        images.read(np.array([3]))
    assert str(root) in told.value.hint
    (root / "1.png").write_bytes(encoded(10, size=(9, 9)))
    assert levels(images, 3) == [10]


def test_a_stand_in_that_breaks_is_replaced_too(root: Path, tmp_path: Path) -> None:
    (root / "0.png").write_bytes(b"broken")
    images = image_set(root, tmp_path / "cache")
    assert levels(images, 0) == [10]
    (root / "1.png").write_bytes(b"broken")
    assert levels(images, 0, 1) == levels(image_set(root, tmp_path / "other"), 0, 1) == [20, 20]


def test_what_was_met_is_listed_with_its_place_and_reason(root: Path, tmp_path: Path) -> None:
    (root / "1.png").write_bytes(b"broken")
    images = image_set(root, tmp_path / "cache")
    assert images.list_broken() == ()
    levels(images, 0, 1)
    listed = (BrokenImage("1.png", "cannot be decoded", 1),)
    assert images.list_broken() == listed == image_set(root, tmp_path / "cache").list_broken()


def test_what_a_worker_met_is_listed_by_the_process_that_sent_it(root: Path, tmp_path: Path) -> None:
    """Whichever of the splits that share what is learnt is asked first."""
    learnt = Learnt(BrokenImages(root, tmp_path / "cache"), Modes())
    whole = list_images(root)
    other, images = (EncodedImages(blobs, None, Framing((6, 8)), learnt) for blobs in (whole[3:], whole[:3]))
    (root / "1.png").write_bytes(b"broken")
    levels(pickle.loads(pickle.dumps(images)), 0, 1)
    assert other.list_broken() == ()
    assert images.list_broken() == (BrokenImage("1.png", "cannot be decoded", 1),)
    assert levels(images, 1) == [20]


def test_an_image_that_was_taken_away_keeps_its_place(root: Path, tmp_path: Path) -> None:
    (root / "1.png").write_bytes(b"broken")
    before = levels(image_set(root, tmp_path / "a"), 0, 1, 2, 3, 4)
    (root / "1.png").unlink()
    gone = EncodedImages(
        list_images(root, ["1.png"]), LABELS, Framing((6, 8)), Learnt(BrokenImages(root, tmp_path / "b"), Modes())
    )
    assert levels(gone, 0, 1, 2, 3, 4) == before
    assert [each.number for each in gone.list_broken()] == [1]


def test_another_process_gets_what_this_one_has_learnt(root: Path, tmp_path: Path) -> None:
    (root / "1.png").write_bytes(b"broken")
    images = image_set(root, tmp_path / "cache")
    levels(images, 1)
    assert levels(pickle.loads(pickle.dumps(images)), 1, 4) == [20, 40]
