"""CIFAR in its binary layout, in image folders and in tars; never out of a pickle."""

from __future__ import annotations

import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy_prune.errors import DataError
from deploy_prune.sources.data import list_broken, read_data

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def cifar_folders(root: Path, *, train=10, test=2):
    """Images whose grey level is 10 x class + position in the class."""
    for number, name in enumerate(CIFAR10):
        for half, count in (("train", train), ("test", test)):
            folder = root / half / name
            folder.mkdir(parents=True)
            for index in range(count):
                grey = (10 * number + index,) * 3
                Image.new("RGB", (32, 32), grey).save(folder / f"{index:04d}.png")


def binary_records(labels, label_bytes):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (len(labels), 3, 32, 32), np.uint8)
    heads = np.zeros((len(labels), label_bytes), np.uint8)
    heads[:, -1] = labels
    return np.concatenate([heads, pixels.reshape(len(labels), -1)], axis=1).tobytes(), pixels


def test_the_binary_layout_of_cifar10_is_planes_of_red_green_blue(tmp_path: Path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    labels = np.arange(40) % 10
    raw, _ = binary_records(labels, 1)
    (folder / "data_batch_1.bin").write_bytes(raw)
    test_raw, pixels = binary_records(np.array([3, 9]), 1)
    (folder / "test_batch.bin").write_bytes(test_raw)
    data = read_data(f"cifar10:{tmp_path}")
    assert data.classes == CIFAR10
    assert data.test.labels.tolist() == [3, 9]
    assert np.array_equal(data.test.read(np.array([1]))[0], pixels[1].transpose(1, 2, 0))
    assert len(data.train) + len(data.val) == 40


def test_cifar100_takes_the_fine_label_and_its_name(tmp_path: Path):
    labels = np.arange(200) % 100
    for name, values in (("train.bin", labels), ("test.bin", np.array([42]))):
        (tmp_path / name).write_bytes(binary_records(values, 2)[0])
    (tmp_path / "fine_label_names.txt").write_text("\n".join(f"name{number}" for number in range(100)))
    data = read_data(f"cifar100:{tmp_path}")
    assert data.classes[data.test.labels[0]] == "name42"


def test_pickles_are_refused_with_the_way_out(tmp_path: Path):
    for name in ("data_batch_1", "test_batch"):
        (tmp_path / name).write_bytes(pickle.dumps({}))
    with pytest.raises(DataError, match="can run code") as caught:
        read_data(f"cifar10:{tmp_path}")
    assert "binary" in caught.value.hint


def test_a_truncated_binary_file_is_named(tmp_path: Path):
    (tmp_path / "data_batch_1.bin").write_bytes(b"\0" * 3000)
    (tmp_path / "test_batch.bin").write_bytes(b"\0" * 3073)
    with pytest.raises(DataError, match=r"data_batch_1\.bin is truncated"):
        read_data(f"cifar10:{tmp_path}")


@pytest.mark.parametrize("form", ["folders", "one tar", "two tars"])
def test_folders_and_tars_of_images_are_the_same_data(tmp_path: Path, form):
    root = tmp_path / "root"
    cifar_folders(root)
    place = root
    if form == "one tar":
        place = tmp_path / "anything.tar"
        with tarfile.open(place, "w") as tar:
            tar.add(root, ".")
    elif form == "two tars":
        place = tmp_path / "tars"
        place.mkdir()
        for half in ("train", "test"):
            with tarfile.open(place / f"cifar10-{half}.tar", "w") as tar:
                tar.add(root / half, half)
    data = read_data(f"cifar10:{place}")
    assert data.classes == CIFAR10
    assert (len(data.train), len(data.val), len(data.test)) == pytest.approx((90, 10, 20), abs=1)
    levels = data.test.read(np.arange(20))[:, 0, 0, 0]
    assert levels.tolist() == [10 * number + index for number in range(10) for index in (0, 1)]


def test_a_list_of_validation_images_counts_by_class_then_file_name(tmp_path: Path):
    cifar_folders(tmp_path)
    (tmp_path / "val-indices.json").write_text(json.dumps([0, 11, 99]))
    data = read_data(f"cifar10:{tmp_path}")
    assert data.val.read(np.arange(3))[:, 0, 0, 0].tolist() == [0, 11, 99]
    assert len(data.train) == 97


@pytest.mark.parametrize("text", ["[100]", "[-1]", '{"a": 1}', "[", "[]"])
def test_a_list_of_validation_images_that_does_not_fit_is_refused(tmp_path: Path, text):
    cifar_folders(tmp_path)
    (tmp_path / "val-indices.json").write_text(text)
    with pytest.raises(DataError, match=r"val-indices\.json"):
        read_data(f"cifar10:{tmp_path}")


def test_a_broken_training_image_does_not_shift_the_validation_list(tmp_path: Path):
    cifar_folders(tmp_path)
    (tmp_path / "train" / "airplane" / "0003.png").write_bytes(b"broken")
    (tmp_path / "val-indices.json").write_text(json.dumps([11]))
    data = read_data(f"cifar10:{tmp_path}")
    assert data.val.read(np.arange(1))[0, 0, 0, 0] == 11
    assert len(data.train) == 98


@pytest.mark.parametrize("address", ["cifar10", "cifar100"])
def test_an_empty_or_missing_folder_says_what_was_expected(tmp_path: Path, address):
    with pytest.raises(DataError, match=f"holds no {address}") as caught:
        read_data(f"{address}:{tmp_path}")
    assert "train" in caught.value.hint
    with pytest.raises(DataError, match="does not exist"):
        read_data(f"{address}:{tmp_path / 'nowhere'}")


def test_a_broken_image_may_be_taken_away_from_the_folders(tmp_path: Path):
    cifar_folders(tmp_path)
    broken = tmp_path / "train" / "bird" / "0003.png"
    content = broken.read_bytes()
    broken.write_bytes(b"broken")
    before = read_data(f"cifar10:{tmp_path}")
    listed = [each.name for split in (before.train, before.val, before.test) for each in list_broken(split)]
    assert listed == ["train/bird/0003.png"]
    for path_holds in (None, content):
        broken.unlink()
        if path_holds is not None:  # mended in the middle of a run: the splits stay as they were
            broken.write_bytes(path_holds)
        again = read_data(f"cifar10:{tmp_path}", options={"gone": listed})
        for ours, theirs in ((again.train, before.train), (again.val, before.val), (again.test, before.test)):
            assert np.array_equal(ours.pixels, theirs.pixels)
        broken.touch()
