"""What is remembered of broken images: by name, size and time, in one file that may be lost or refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy_prune.sources.broken_images import BrokenImages
from deploy_prune.sources.images import Blob

WHY = "cannot be decoded"


def reasons(blobs: list[Blob]) -> dict[Blob, str]:
    return dict.fromkeys(blobs, WHY)


@pytest.fixture
def blobs(tmp_path: Path) -> list[Blob]:
    (tmp_path / "images").mkdir()
    for name in "abc":
        (tmp_path / "images" / name).write_bytes(b"broken")
    return [Blob(name, tmp_path / "images" / name) for name in "abc"]


def test_a_later_process_knows_what_an_earlier_one_met(blobs: list[Blob], tmp_path: Path) -> None:
    BrokenImages(tmp_path / "images", tmp_path / "cache").remember(reasons(blobs[:2]))
    later = BrokenImages(tmp_path / "images", tmp_path / "cache")
    assert [later.find_reason(blob) for blob in blobs] == [WHY, WHY, None]
    assert BrokenImages(tmp_path / "other", tmp_path / "cache").find_reason(blobs[0]) is None


def test_an_image_that_was_replaced_is_looked_at_again(blobs: list[Blob], tmp_path: Path) -> None:
    """Its size tells that it is another one, or its time where the size is the same."""
    BrokenImages(tmp_path / "images", tmp_path / "cache").remember(reasons(blobs))
    blobs[0].path.write_bytes(b"mended and longer")
    os.utime(blobs[1].path, ns=(1, 1))
    later = BrokenImages(tmp_path / "images", tmp_path / "cache")
    assert [later.find_reason(blob) for blob in blobs] == [None, None, WHY]


def test_two_processes_at_once_lose_nothing_that_was_written(blobs: list[Blob], tmp_path: Path) -> None:
    one, other = (BrokenImages(tmp_path / "images", tmp_path / "cache") for _ in range(2))
    one.remember(reasons(blobs[:1]))
    other.remember(reasons(blobs[1:]))
    later = BrokenImages(tmp_path / "images", tmp_path / "cache")
    assert all(later.find_reason(blob) == WHY for blob in blobs)


def test_what_is_broken_at_one_size_may_be_whole_at_another(blobs: list[Blob], tmp_path: Path) -> None:
    """An image may be too large only once it is scaled."""
    BrokenImages(tmp_path / "images", tmp_path / "cache", read_as=(6, 8)).remember(reasons(blobs))
    for read_as, why in (((6, 8), WHY), ((3, 4), None)):
        known = BrokenImages(tmp_path / "images", tmp_path / "cache", read_as=read_as)
        assert known.find_reason(blobs[0]) == why


@pytest.mark.parametrize(
    "content", ["", "[1, 2]", '{"a": ', '{"a": [1, 2]}', '{"a": [[1, "x"], 3]}', '{"a": null}', "[" * 9000]
)
def test_a_damaged_file_is_as_good_as_none(blobs: list[Blob], tmp_path: Path, content: str) -> None:
    broken = BrokenImages(tmp_path / "images", tmp_path / "cache")
    broken.file.parent.mkdir()
    broken.file.write_text(content)
    again = BrokenImages(tmp_path / "images", tmp_path / "cache")
    assert again.find_reason(blobs[0]) is None
    again.remember(reasons(blobs[:1]))
    assert again.find_reason(blobs[0]) == WHY


def test_a_folder_that_cannot_be_written_to_is_no_error(blobs: list[Blob], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    broken = BrokenImages(tmp_path / "images", tmp_path / "file" / "cache")
    broken.remember(reasons(blobs[:1]))
    assert broken.find_reason(blobs[0]) == WHY, "this process knows all the same"
