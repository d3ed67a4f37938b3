"""Each data source reads its layouts, and says what is wrong with anything else."""

from __future__ import annotations

import dataclasses
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy_prune.errors import ConfigError, DataError, UnknownName
from deploy_prune.sources.data import (
    check_classes,
    check_fit,
    identify_splits,
    list_strata,
    normalise,
    read_data,
    read_spread,
    require_labels,
)
from deploy_prune.sources.networks import build_network
from deploy_prune.values import Data

SPLITS = ("train", "val", "test")


def picture(path: Path, level: int, size=(32, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, level, level)).save(path)


# --- what every source shares ----------------------------------------------------------------------------------


def test_an_unknown_data_set_or_option_offers_the_closest():
    with pytest.raises(UnknownName, match="did you mean 'digits'"):
        read_data("digit")
    with pytest.raises(UnknownName, match="did you mean 'seed'"):
        read_data("digits", options={"sed": 1})


def test_normalising_is_over_255_minus_mean_over_std():
    images = np.array([[[[0, 255]]], [[[51, 102]]]], np.uint8)  # two images of 1x1 with two channels
    out = normalise(images, (0.5, 0.2), (0.25, 0.4))
    assert out.shape == (2, 2, 1, 1)
    assert out.is_contiguous()
    assert out.flatten().tolist() == pytest.approx([-2.0, 2.0, -1.2, 0.5], abs=1e-6)


def test_a_network_of_another_number_of_classes_or_size_is_refused():
    digits = read_data("digits")
    with pytest.raises(DataError, match="has 7 classes, digits has 10"):
        check_classes(build_network("resnet20", classes=7), digits)
    check_classes(dataclasses.replace(build_network("resnet20", classes=7), classes=None), digits)
    with pytest.raises(DataError, match="in the network's size"):
        check_fit(build_network("resnet20", input_shape=(3, 32, 40)), digits)


# --- digits ----------------------------------------------------------------------------------------------------


def test_digits_are_split_once_and_for_all():
    data = read_data("digits")
    counts = [len(split) for split in (data.train, data.val, data.test)]
    assert counts == [1078, 270, 449]
    assert data.image_shape == (3, 32, 32)
    again = read_data("digits").test.read(np.arange(449))
    assert np.array_equal(data.test.read(np.arange(449)), again)
    assert again.dtype == np.uint8
    assert again.max() > 240


def test_verification_images_are_spread_over_a_split():
    images = read_spread(read_data("digits").val, 12)
    assert images.shape == (12, 32, 32, 3) and images.dtype == np.uint8
    assert len(np.unique(images.reshape(12, -1), axis=0)) == 12
    assert len(read_spread(read_data("digits").val)) >= 200


def test_digits_take_a_size_and_no_path():
    assert read_data("digits", size=(16, 24)).val.read(np.arange(2)).shape == (2, 16, 24, 3)
    with pytest.raises(DataError, match="takes no path"):
        read_data("digits:folder")


# --- image folders ---------------------------------------------------------------------------------------------


def test_classes_are_folders_sorted_by_name_and_splits_are_drawn(tmp_path: Path):
    for name, level in (("dog", 200), ("cat", 100)):
        for index in range(20):
            picture(tmp_path / name / f"{index}.png", level, size=(40, 30))
    data = read_data(f"imagefolder:{tmp_path}", size=(16, 24))
    assert data.classes == ("cat", "dog")
    assert data.image_shape == (3, 16, 24)
    counts = [len(split) for split in (data.train, data.val, data.test)]
    assert counts == pytest.approx([24, 6, 10], abs=2)
    for split in (data.train, data.val, data.test):
        levels = split.read(np.arange(len(split)))[:, 8, 12, 0]
        assert levels.tolist() == [(100, 200)[label] for label in split.labels]


@pytest.mark.parametrize(("folders", "tested"), [(("train", "val"), "val"), (("train", "val", "test"), "test")])
def test_splits_that_folders_make_are_taken(tmp_path: Path, folders, tested):
    for position, split in enumerate(folders):
        for name in ("cat", "dog"):
            for index in range(10):
                picture(tmp_path / "wrapper" / split / name / f"{index}.png", 50 * (position + 1))
    data = read_data(f"imagefolder:{tmp_path}", size=(8, 8))
    levels = data.test.read(np.arange(len(data.test)))[:, 0, 0, 0]
    assert set(levels.tolist()) == {50 * (folders.index(tested) + 1)}
    assert len(data.test) == 20


def test_splits_are_drawn_over_all_names_and_another_photograph_stands_in_for_a_broken_one(tmp_path: Path, caplog):
    """A second start knows it from the cache, and gives the same images."""
    for name in ("cat", "dog"):
        for index in range(10):
            picture(tmp_path / name / f"{index}.png", 5 * index)
    whole = read_data(f"imagefolder:{tmp_path}", size=(8, 8))
    (tmp_path / "cat" / "3.png").write_bytes(b"broken")
    first = read_data(f"imagefolder:{tmp_path}", size=(8, 8))
    assert all(np.array_equal(getattr(first, each).labels, getattr(whole, each).labels) for each in SPLITS)
    assert not caplog.text, "nothing was looked at yet"
    pixels = [getattr(first, each).read(np.arange(len(getattr(first, each)))) for each in SPLITS]
    assert caplog.text.count("cat/3.png cannot be decoded: cat/") == 1
    caplog.clear()
    again = read_data(f"imagefolder:{tmp_path}", size=(8, 8))
    assert "1 images are known to be broken" in caplog.text
    assert all(
        np.array_equal(getattr(again, each).read(np.arange(len(one))), one)
        for each, one in zip(SPLITS, pixels, strict=True)
    )


def test_no_image_is_opened_before_one_is_asked_for(tmp_path: Path, monkeypatch):
    for name in ("cat", "dog"):
        for index in range(10):
            picture(tmp_path / name / f"{index}.png", 5)
    opened, really_open = [], Path.open

    def noted(path: Path, *how, **more):
        opened.append(path.suffix)
        return really_open(path, *how, **more)

    monkeypatch.setattr(Path, "open", noted)
    data = read_data(f"imagefolder:{tmp_path}", size=(8, 8))
    assert opened.count(".png") == 0
    data.train.read(np.array([0, 2]))
    assert opened.count(".png") == 2


def test_numbered_folders_keep_their_numbers(tmp_path: Path):
    for name in ("007_cock", "002_shark"):
        for index in range(8):
            picture(tmp_path / name / f"{index}.png", 5)
    data = read_data(f"imagefolder:{tmp_path}", size=(8, 8), options={"numbered": 10})
    assert len(data.classes) == 10
    assert data.classes[7] == "007_cock"
    assert set(data.train.labels.tolist()) == {2, 7}
    with pytest.raises(DataError, match="class number 7, of 5 classes"):
        read_data(f"imagefolder:{tmp_path}", options={"numbered": 5})


def test_images_in_no_folder_have_no_labels_and_are_split_by_seed(tmp_path: Path):
    for index in range(40):
        picture(tmp_path / f"{index}.png", index)
    first, again, other = (
        read_data(f"imagefolder:{tmp_path}", size=(8, 8), options={"seed": seed}) for seed in (0, 0, 1)
    )
    assert first.classes == ()
    levels = [split.read(np.arange(len(split)))[:, 0, 0, 0].tolist() for split in (first.train, first.val, first.test)]
    assert sorted(level for each in levels for level in each) == list(range(40)), "every image is in one split"
    assert [len(each) for each in levels] == pytest.approx([24, 6, 10], abs=2)
    assert all(split.labels is None for split in (first.train, first.val, first.test))
    assert identify_splits(first) == identify_splits(again) != identify_splits(other)


def test_unlabelled_splits_that_folders_make_are_taken(tmp_path: Path):
    for position, split in enumerate(("train", "val", "test")):
        for index in range(10):
            picture(tmp_path / split / f"{index}.png", 50 * (position + 1))
    data = read_data(f"imagefolder:{tmp_path}", size=(8, 8))
    assert data.test.labels is None
    assert set(data.test.read(np.arange(10))[:, 0, 0, 0].tolist()) == {150}


def test_a_folder_around_all_images_is_no_class(tmp_path: Path):
    picture(tmp_path / "cat" / "1.png", 5)
    with pytest.raises(DataError, match="are of one class") as caught:
        read_data(f"imagefolder:{tmp_path}")
    assert f"--data images:{tmp_path}" in caught.value.hint
    picture(tmp_path / "flat" / "1.png", 5)
    with pytest.raises(DataError, match="no class folders, and so no 10 classes"):
        read_data(f"imagefolder:{tmp_path / 'flat'}", options={"numbered": 10})
    with pytest.raises(ConfigError, match="no crop 2"):
        read_data(f"imagefolder:{tmp_path}", options={"crop": 2})


# --- images without labels ---------------------------------------------------------------------------------------


def levels_of(data: Data) -> list[list[int]]:
    """The grey level of every image of each split."""
    return [split.read(np.arange(len(split)))[:, 0, 0, 0].tolist() for split in (data.train, data.val, data.test)]


def pack(folder: Path, tar: Path) -> Path:
    with tarfile.open(tar, "w") as archive:
        archive.add(folder, ".")
    return tar


def test_every_image_below_a_folder_is_taken_whatever_its_folders_are_called(tmp_path: Path):
    """Here imagefolder would see two classes, and leave the images beside them out."""
    for index in range(30):
        folder = ("", "cats", "cats/2024", "dogs")[index % 4]
        picture(tmp_path / "all" / folder / f"{index}.png", index)
    data = read_data(f"images:{tmp_path}", size=(8, 8))
    assert data.classes == ()
    assert {split.labels is None for split in (data.train, data.val, data.test)} == {True}
    levels = levels_of(data)
    assert sorted(level for each in levels for level in each) == list(range(30)), "every image is in one split"
    assert [len(each) for each in levels] == pytest.approx([18, 4, 8], abs=2)
    packed = read_data(f"images:{pack(tmp_path / 'all', tmp_path / 'all.tar')}", size=(8, 8))
    assert levels_of(packed) == levels
    other = read_data(f"images:{tmp_path / 'all'}", size=(8, 8), options={"seed": 1})
    assert levels_of(other) != levels


def test_folders_that_are_named_for_the_splits_make_them_however_deep_images_lie(tmp_path: Path):
    for position, split in enumerate(SPLITS):
        for index in range(6):
            picture(tmp_path / "set" / split / ("", "a/b")[index % 2] / f"{index}.png", 50 * (position + 1))
    data = read_data(f"images:{tmp_path}", size=(8, 8))
    assert [set(each) for each in levels_of(data)] == [{50}, {100}, {150}]
    picture(tmp_path / "set" / "1.png", 7)
    assert len(read_data(f"images:{tmp_path}", size=(8, 8)).val) < 6, "an image beside them: they are no splits"


def test_too_few_images_are_refused_and_four_will_do(tmp_path: Path):
    for index in range(3):
        picture(tmp_path / f"{index}.png", index)
    with pytest.raises(DataError, match="holds 3 images, too few for three splits") as caught:
        read_data(f"images:{tmp_path}")
    assert "give 4 or more" in caught.value.hint
    picture(tmp_path / "3.png", 3)
    assert [len(each) for each in levels_of(read_data(f"images:{tmp_path}", size=(8, 8)))] == [2, 1, 1]
    with pytest.raises(ConfigError, match="images has no crop 2"):
        read_data(f"images:{tmp_path}", options={"crop": 2})


# --- labels ----------------------------------------------------------------------------------------------------


def own_data(path: Path, test: str) -> str:
    """The address of data of a user's file, without labels but in the test split, if `test` says so."""
    path.write_text(f"""
import numpy as np
from deploy_prune import ArrayImages, Data

def data():
    pixels = np.zeros((8, 4, 4, 3), np.uint8)
    plain = ArrayImages(pixels)
    return Data("mine", (), (0.5,) * 3, (0.5,) * 3, (3, 4, 4), plain, plain, {test}, flip=False, crop_padding=0)
""")
    return f"{path}:data"


def test_whoever_needs_labels_is_named_with_the_data_that_have_none(tmp_path: Path):
    data = read_data(own_data(tmp_path / "mine.py", "plain"))
    with pytest.raises(DataError, match="method 'dcp' needs labels, and mine has none") as caught:
        require_labels(data, data.train, "method 'dcp'")
    assert "magnitude" in caught.value.hint
    assert list_strata(data.train).tolist() == [0] * 8
    check_classes(build_network("resnet20", classes=7, input_shape=(3, 4, 4)), data)


def test_a_set_that_is_labelled_in_part_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no labels in its train split"):
        read_data(own_data(tmp_path / "mine.py", "ArrayImages(pixels, np.zeros(8, np.int64))"))


def test_a_number_of_labels_that_is_not_that_of_the_images_is_refused(tmp_path: Path):
    address = own_data(tmp_path / "mine.py", "plain")
    text = (
        (tmp_path / "mine.py").read_text().replace("ArrayImages(pixels)", "ArrayImages(pixels, np.zeros(3, np.int64))")
    )
    (tmp_path / "mine.py").write_text(text.replace('"mine", ()', '"mine", ("a",)'))
    with pytest.raises(DataError, match="3 labels for 8 images"):
        read_data(address)


# --- torchvision and the user's own ----------------------------------------------------------------------------


def write_mnist(root: Path, counts: dict[str, int]):
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for half, count in counts.items():
        labels = bytes(index % 10 for index in range(count))
        images = bytes(index % 10 for index in range(count) for _ in range(784))
        (raw / f"{half}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels)
        (raw / f"{half}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, 28, 28) + images)


def test_a_torchvision_set_on_disk_is_read(tmp_path: Path):
    write_mnist(tmp_path, {"train": 100, "t10k": 20})
    data = read_data(f"torchvision:MNIST:{tmp_path}")
    assert len(data.classes) == 10
    assert (len(data.train), len(data.val), len(data.test)) == pytest.approx((90, 10, 20), abs=1)
    assert data.test.read(np.arange(20))[:, 3, 3, 2].tolist() == data.test.labels.tolist()
    assert not data.flip


def test_a_torchvision_set_that_is_not_there_is_not_downloaded(tmp_path: Path):
    with pytest.raises(DataError, match="cannot open SVHN"):
        read_data(f"torchvision:SVHN:{tmp_path}")
    with pytest.raises(UnknownName, match="did you mean 'SVHN'"):
        read_data(f"torchvision:SVNH:{tmp_path}")
    with pytest.raises(DataError, match="no train and test halves"):
        read_data(f"torchvision:Caltech101:{tmp_path}")


def test_a_broken_image_of_a_torchvision_set_is_named(tmp_path: Path):
    for half in ("train", "test"):
        for name in ("negative", "positive"):
            path = tmp_path / "rendered-sst2" / half / name / "0.png"
            path.parent.mkdir(parents=True)
            path.write_bytes(b"broken")
    with pytest.raises(DataError, match="image 0 of torchvision's RenderedSST2 cannot be read: UnidentifiedImageError"):
        read_data(f"torchvision:RenderedSST2:{tmp_path}")


def test_the_users_own_factory_returns_data(tmp_path: Path):
    path = tmp_path / "own.py"
    path.write_text(
        "from deploy_prune.sources.data import read_data, read_spread\n"
        "def make():\n    return read_data('digits')\n"
        "def wrong():\n    return 3\n"
        "def failing():\n    return 1 / 0\n"
    )
    assert read_data(f"{path}:make").name == "digits"
    with pytest.raises(DataError, match="returned a int"):
        read_data(f"{path}:wrong")
    with pytest.raises(DataError, match="ZeroDivisionError"):
        read_data(f"{path}:failing")
    with pytest.raises(DataError, match="is asked for"):
        read_data(f"{path}:make", size=(8, 8))


# --- the images of development ---------------------------------------------------------------------------------

SHARED = Path(__file__).parents[3] / "../shared/data"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the development images are not beside the repository")
def test_a_tar_of_photographs_is_read_without_extracting_it():
    data = read_data(f"imagefolder:{SHARED / 'imagenet-sample-500.tar'}", options={"numbered": 1000}, size=(64, 64))
    assert sum(len(split) for split in (data.train, data.val, data.test)) == 500
    assert data.val.read(np.arange(2)).shape == (2, 64, 64, 3)
