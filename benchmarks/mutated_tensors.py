"""Images, tars of images, weights and training states, to be damaged by `benchmarks.mutations`."""

from __future__ import annotations

import copy
import io
import os
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from benchmarks.mutated import Kind
from benchmarks.mutated_structures import mutate_image, mutate_safetensors, mutate_tar, mutate_zip
from deploy_prune.sources.data import read_data
from deploy_prune.sources.weights import load_weights
from deploy_prune.train.precision import Arithmetic
from deploy_prune.train.state import Standing, load_state, save_state
from deploy_prune.values import Data, Network

SIDE = 16
DAMAGED = "a/damaged.png"
TRAINING = "a" * 64


def _read_whole(data: Data) -> None:
    for split in (data.train, data.val, data.test):
        split.read(np.arange(len(split)))


# --- images ----------------------------------------------------------------------------------------------------


def _draw(mode: str, kind: str, generator: np.random.Generator, **keywords: object) -> bytes:
    pixels = generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(generator.integers(0, 65536, (24, 32), dtype=np.uint16))
    elif mode == "P":
        image = image.quantize(16)
    elif mode != "RGB":
        image = image.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind, **keywords)
    return buffer.getvalue()


def _make_images(folder: Path) -> list[bytes]:
    """Every mode and format that is read; beside the damaged image lie whole ones."""
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    generator = np.random.default_rng(0)
    for number in range(12):
        path = folder / "images" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_draw("RGB", "PNG", generator))
    modes = [(mode, "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")]
    modes += [(mode, "JPEG") for mode in ("L", "RGB", "CMYK")]
    modes += [("RGB", kind) for kind in ("BMP", "WEBP", "PPM", "GIF", "TIFF")]
    images = [_draw(mode, kind, generator) for mode, kind in modes]
    images.append(_draw("RGB", "JPEG", generator, progressive=True))
    images.append(_draw("RGB", "WEBP", generator, lossless=True))
    images.append(_draw("P", "PNG", generator, transparency=0))
    return images


def _read_image(folder: Path, content: bytes) -> None:
    (folder / "images" / DAMAGED).write_bytes(content)
    _read_whole(read_data(f"imagefolder:{folder / 'images'}", size=(SIDE, SIDE)))


def _make_tars(folder: Path) -> list[bytes]:
    _make_images(folder)
    tars = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
            for path in sorted((folder / "images").rglob("*.png")):
                name = path.relative_to(folder).as_posix()
                tar.add(path, name if form == tarfile.USTAR_FORMAT else f"{'long' * 30}/{name}")
        tars.append(buffer.getvalue())
    return tars


def _read_tar(folder: Path, content: bytes) -> None:
    path = folder / "damaged.tar"
    path.write_bytes(content)
    _read_whole(read_data(f"imagefolder:{path}", size=(SIDE, SIDE)))


# --- tensors ---------------------------------------------------------------------------------------------------


@cache
def _network() -> Network:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
    return Network("benchmarks:network", module, ((3, 8, 8),), 3)


def _make_safetensors(_: Path) -> list[bytes]:
    weights = _network().module.state_dict()
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    return [save(weights), save(halves, metadata={"format": "pt"})]


def _make_pth(_: Path) -> list[bytes]:
    weights, files = _network().module.state_dict(), []
    parallel = {"state_dict": {f"module.{name}": tensor for name, tensor in weights.items()}, "epoch": 3}
    for content in (weights, parallel):
        for is_zip in (True, False):
            buffer = io.BytesIO()
            torch.save(content, buffer, _use_new_zipfile_serialization=is_zip)
            files.append(buffer.getvalue())
    return files


def _read_weights(name: str) -> Callable[[Path, bytes], None]:
    def read(folder: Path, content: bytes) -> None:
        (folder / name).write_bytes(content)
        load_weights(_network(), folder / name)

    return read


def _begin() -> tuple[nn.Module, torch.optim.Optimizer]:
    module = copy.deepcopy(_network().module)
    return module, torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)


def _make_states(folder: Path) -> list[bytes]:
    module, optimizer = _begin()
    module(torch.randn(4, 3, 8, 8)).square().sum().backward()
    optimizer.step()
    path = folder / "state.safetensors"
    save_state(path, Standing(TRAINING, 2, Arithmetic(bf16=False, channels_last=False)), module, optimizer)
    with safe_open(path, "pt") as file:
        header = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    # One as it is, and one as versions of before wrote it, whose damage no digest shows.
    return [path.read_bytes(), save(tensors, metadata={key: header[key] for key in ("schema", "standing")})]


def _read_state(folder: Path, content: bytes) -> None:
    (folder / "damaged.safetensors").write_bytes(content)
    load_state(folder / "damaged.safetensors", TRAINING, *_begin())


KINDS = {
    "image": Kind(_make_images, _read_image, mutate_image),
    "tar": Kind(_make_tars, _read_tar, mutate_tar),
    "safetensors": Kind(_make_safetensors, _read_weights("damaged.safetensors"), mutate_safetensors),
    "pth": Kind(_make_pth, _read_weights("damaged.pth"), mutate_zip),
    "training state": Kind(_make_states, _read_state, mutate_safetensors),
}
"""What is damaged here, by name."""
