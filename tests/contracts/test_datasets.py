"""What every data source promises: three splits that are always the same, in bytes of the size that is asked for."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy_prune import plugins
from deploy_prune.errors import DataError, DeployPruneError
from deploy_prune.sources.data import identify_splits, read_data
from deploy_prune.sources.datasets import DATASETS
from deploy_prune.values import Data, ImageSet

OWN = """
import numpy as np
from deploy_prune import ArrayImages, Data

def data():
    draw = np.random.default_rng(0)
    train, val, test = (
        ArrayImages(draw.integers(0, 256, (12, 16, 16, 3), np.uint8), np.arange(12) % 2) for _ in range(3)
    )
    return Data("own", ("a", "b"), (0.5,) * 3, (0.25,) * 3, (3, 16, 16), train, val, test, flip=False, crop_padding=0)
"""


def in_cifar_layout(root: Path, files: dict[str, int], *, heads: int, classes: int) -> str:
    """A file per half: `heads` label bytes before three planes of 32 x 32 bytes per image."""
    for name, count in files.items():
        records = np.random.default_rng(0).integers(0, 256, (count, heads + 3 * 32 * 32), np.uint8)
        records[:, :heads] = (np.arange(count) % classes)[:, None]
        (root / name).write_bytes(records.tobytes())
    return str(root)


def in_folders(root: Path) -> str:
    for name in ("cat", "dog"):
        (root / name).mkdir()
        for index in range(10):
            level = (20 * index, 100, 100 if name == "cat" else 200)
            Image.new("RGB", (40, 30), level).save(root / name / f"{index}.png")
    return str(root)


def without_labels(root: Path) -> str:
    for index in range(20):
        folder = root / ("album" if index % 2 else "other/album")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (10 * index, 100, 200)).save(folder / f"{index}.png")
    return str(root)


def mnist(root: Path) -> str:
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for half, count in (("train", 100), ("t10k", 20)):
        labels = np.arange(count, dtype=np.uint8) % 10
        pixels = np.random.default_rng(0).integers(0, 256, (count, 28 * 28), np.uint8)
        (raw / f"{half}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels.tobytes())
        (raw / f"{half}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, 28, 28) + pixels.tobytes())
    return f"MNIST:{root}"


def own(root: Path) -> str:
    (root / "own.py").write_text(OWN)
    return f"{root / 'own.py'}:data"


ON_DISK: dict[str, Callable[[Path], str] | None] = {
    "cifar10": lambda root: in_cifar_layout(root, {"data_batch_1.bin": 60, "test_batch.bin": 20}, heads=1, classes=10),
    "cifar100": lambda root: in_cifar_layout(root, {"train.bin": 400, "test.bin": 100}, heads=2, classes=100),
    "digits": None,
    "file": own,
    "imagefolder": in_folders,
    "images": without_labels,
    "torchvision": mnist,
}
"""Plugin -> what writes a small set for it and says where it is; None: it brings its images along."""


@pytest.fixture(params=plugins.list_names(DATASETS))
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    write = ON_DISK[request.param]
    if write is None:
        return request.param
    return write(tmp_path) if request.param == "file" else f"{request.param}:{write(tmp_path)}"


def splits(data: Data) -> tuple[ImageSet, ...]:
    return data.train, data.val, data.test


def test_images_are_bytes_of_the_shape_that_the_data_name(address: str) -> None:
    data = read_data(address)
    channels, height, width = data.image_shape
    for split in splits(data):
        images = split.read(np.array([0, len(split) - 1]))
        assert images.dtype == np.uint8
        assert images.shape == (2, height, width, channels)


def test_images_have_the_size_that_is_asked_for(address: str) -> None:
    if address.endswith(":data"):
        with pytest.raises(DataError, match="is asked for"):
            read_data(address, size=(20, 24))
        return
    data = read_data(address, size=(20, 24))
    assert data.image_shape[1:] == (20, 24)
    assert data.val.read(np.array([0])).shape[1:3] == (20, 24)


def test_every_image_of_a_labelled_set_has_a_class(address: str) -> None:
    data = read_data(address)
    if address.startswith("images:"):
        assert data.classes == ()
        assert {split.labels is None for split in splits(data)} == {True}
        return
    for split in splits(data):
        assert split.labels is not None
        assert len(split.labels) == len(split) > 0
        assert set(split.labels.tolist()) <= set(range(len(data.classes)))


def test_the_splits_are_the_same_whenever_they_are_read(address: str) -> None:
    assert identify_splits(read_data(address)) == identify_splits(read_data(address))


def test_images_come_in_the_order_in_which_they_are_asked_for(address: str) -> None:
    split = read_data(address).train
    forwards, back = split.read(np.array([1, 4, 2])), split.read(np.array([2, 4, 1]))
    assert np.array_equal(forwards, back[::-1])


def test_a_place_where_nothing_is_is_named(address: str, tmp_path: Path) -> None:
    gone = address.replace(str(tmp_path), str(tmp_path / "gone")) if str(tmp_path) in address else f"{address}:gone"
    with pytest.raises(DeployPruneError, match=r"gone|path"):
        read_data(gone)
