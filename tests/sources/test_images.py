"""Images are read in place, and splits never change."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deploy_prune.errors import DataError
from deploy_prune.sources.decoding import Framing, decode_all
from deploy_prune.sources.images import ArrayImages, list_images, split_indices
from examples import examples


def encoded(colour, size=(8, 6), kind="PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=300),
    st.lists(st.floats(0.05, 0.3), min_size=1, max_size=3),
    st.integers(0, 9),
)
@examples(60)
def test_parts_of_a_split_are_disjoint_sorted_and_repeatable(labels, shares, seed):
    labels = np.asarray(labels)
    parts = split_indices(labels, shares, seed=seed)
    everything = np.concatenate(parts)
    assert len(set(everything.tolist())) == len(everything) <= len(labels)
    assert all((np.diff(part) > 0).all() for part in parts)
    again = split_indices(labels, shares, seed=seed)
    assert all(np.array_equal(part, same) for part, same in zip(parts, again, strict=True))


def test_every_class_gets_its_share():
    labels = np.repeat(np.arange(10), 100)
    train, val = split_indices(labels, (0.8, 0.2), seed=0)
    assert len(train) + len(val) == 1000
    assert np.abs(np.bincount(labels[train]) - 80).max() <= 2
    assert np.abs(np.bincount(labels[val]) - 20).max() <= 2


def test_classes_with_one_image_are_spread_over_the_parts():
    parts = split_indices(np.arange(100), (0.6, 0.15, 0.25), seed=0)
    assert [len(part) for part in parts] == pytest.approx([60, 15, 25], abs=2)


def test_another_seed_is_another_split():
    labels = np.zeros(50, int)
    assert not np.array_equal(split_indices(labels, (0.5,), seed=0)[0], split_indices(labels, (0.5,), seed=1)[0])


def test_arrays_are_resized_when_another_size_is_asked_for():
    pixels = np.full((3, 4, 4, 3), 77, np.uint8)
    images = ArrayImages(pixels, np.zeros(3, np.int64), size=(6, 5)).read(np.array([2, 0]))
    assert images.shape == (2, 6, 5, 3)
    assert (images == 77).all()


def test_a_tar_is_read_in_place_like_the_folder_it_was_made_of(tmp_path: Path):
    folder = tmp_path / "images"
    (folder / "a").mkdir(parents=True)
    for index, colour in enumerate(("red", "green", "blue")):
        (folder / "a" / f"{index}.png").write_bytes(encoded(colour))
    (folder / "a" / "notes.txt").write_text("no image")
    with tarfile.open(tmp_path / "images.tar", "w") as tar:
        tar.add(folder, ".")
    before = sorted(path.name for path in tmp_path.iterdir())
    read = []
    for root in (folder, tmp_path / "images.tar"):
        blobs = list_images(root)
        assert [blob.name for blob in blobs] == ["a/0.png", "a/1.png", "a/2.png"]
        read.append(decode_all(blobs, Framing((6, 8)))[0])
    assert np.array_equal(*read)
    assert read[0][2, 0, 0].tolist() == [0, 0, 255]
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_an_image_that_is_gone_keeps_its_place(tmp_path: Path):
    for name in ("a.png", "c.png"):
        (tmp_path / name).write_bytes(encoded("red"))
    assert [(blob.name, blob.length) for blob in list_images(tmp_path, ["b.png", "c.png"])] == [
        ("a.png", -1), ("b.png", 0), ("c.png", -1),
    ]  # fmt: skip


def test_what_is_not_there_or_empty_or_no_tar_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="holds no images"):
        list_images(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        list_images(tmp_path / "nowhere")
    (tmp_path / "fake.tar").write_bytes(b"x" * 2000)
    with pytest.raises(DataError, match="no readable"):
        list_images(tmp_path / "fake.tar")
