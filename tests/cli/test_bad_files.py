"""Weights and images that are missing, damaged or something else, through the real command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

Captured = pytest.CaptureFixture[str]
Refused = Callable[..., str]


def images(folder: Path, *, broken: int = 0, good: int = 16) -> Path:
    """Two classes of tiny photographs."""
    for name, shade in (("cats", 40), ("dogs", 200)):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(good):
            Image.new("RGB", (12, 10), (shade, number, 0)).save(folder / "photos" / name / f"{number}.png")
    for number in range(broken):
        (folder / "photos" / "cats" / f"broken{number}.png").write_bytes(b"\x89PNG no more")
    return folder / "photos"


def test_missing_weights(refused: Refused, folder: Path) -> None:
    assert "nowhere.safetensors does not exist" in refused("--weights", folder / "nowhere.safetensors", code=2)


@pytest.mark.parametrize("name", ["bad.safetensors", "bad.pth"])
def test_corrupt_weights(refused: Refused, folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\x80these are no tensors")
    assert f"{name} is corrupt" in refused("--weights", folder / name, code=2)


@pytest.mark.parametrize("name", ["page.safetensors", "page.pth"])
def test_a_text_in_the_place_of_weights_is_called_one(refused: Refused, folder: Path, name: str) -> None:
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    said = refused("--weights", folder / name, code=2)
    assert f"{name} is a text" in said
    assert "Git LFS" in said


def test_weights_of_another_number_of_classes(refused: Refused, folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from deploy_prune.sources.networks import build_network

    with torch.random.fork_rng():
        other = build_network(f"{folder}/net.py:build", classes=7, input_shape=(3, 8, 8))
    save_file(other.module.state_dict(), folder / "seven.safetensors")
    said = refused("--weights", folder / "seven.safetensors", code=2)
    assert "the weights know 7 classes, the network has 4" in said


def test_a_network_of_another_number_of_classes_than_the_data(refused: Refused) -> None:
    assert "has 7 classes, tiny has 4" in refused("--classes", "7", code=2)


def test_a_missing_image_folder(refused: Refused, folder: Path) -> None:
    assert "nowhere does not exist" in refused("--data", f"imagefolder:{folder}/nowhere", code=2)


@pytest.mark.parametrize("source", ["imagefolder", "images"])
def test_an_image_folder_that_is_empty_or_holds_other_files(refused: Refused, folder: Path, source: str) -> None:
    (folder / "empty").mkdir()
    assert "holds no images" in refused("--data", f"{source}:{folder}/empty", code=2)
    (folder / "empty" / "deeper").mkdir()
    (folder / "empty" / "deeper" / "notes.txt").write_text("no image")
    said = refused("--data", f"{source}:{folder}/empty", code=2)
    assert "images end in" in said
    assert ".jpg" in said


def test_one_class_is_named_with_what_to_do(refused: Refused, folder: Path) -> None:
    (images(folder) / "dogs").rename(folder / "elsewhere")
    said = refused("--data", f"imagefolder:{folder}/photos", code=2)
    assert "are of one class, 'cats'" in said
    assert f"--data images:{folder}/photos" in said
    assert "add a folder for every other class" in said


@pytest.mark.parametrize("source", ["imagefolder", "images", "cifar10"])
def test_a_file_in_the_place_of_an_image_folder(refused: Refused, folder: Path, source: str) -> None:
    (folder / "photo.txt").write_text("a list")
    said = refused("--data", f"{source}:{folder}/photo.txt", code=2)
    assert "photo.txt is a file, not a folder" in said
    assert "hint: give the folder" in said


def test_a_path_alone_is_told_how_it_is_written(refused: Refused, folder: Path) -> None:
    said = refused("--data", images(folder), code=2)
    assert f"write imagefolder:{folder}/photos" in said
    assert f"images:{folder}/photos for images without labels" in said
    assert "data.py:NAME" in refused("--data", f"{folder}/data.py", code=2)
    assert "net.py:NAME" in refused(f"{folder}/net.py", code=2)


def test_a_tar_that_is_none(refused: Refused, folder: Path) -> None:
    (folder / "photos.tar").write_bytes(b"no archive")
    assert "is no readable .tar" in refused("--data", f"imagefolder:{folder}/photos.tar", code=2)


def test_images_that_are_all_broken(refused: Refused, folder: Path) -> None:
    images(folder, good=0, broken=16)
    (folder / "photos" / "dogs" / "x.png").write_bytes(b"nor this")
    said = refused("--data", f"imagefolder:{folder}/photos", code=2)
    assert "cannot be decoded, and no other image of this split can be used either" in said


def test_one_broken_image_among_good_ones_is_named_and_another_stands_in(
    refused: Refused, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = images(folder, broken=1)
    refused("--data", f"imagefolder:{photos}", "--input-shape", "3,8,8", code=0)
    assert re.search(r"cats/broken0\.png cannot be decoded: cats/\d+\.png stands in for it", caplog.text)
