"""Exported files, to be damaged by `benchmarks.mutations`; their runtimes do not open them here."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from benchmarks.mutated import Kind, mutate_bytes
from deploy_prune import plugins
from deploy_prune.analysis.describe import read_origin, read_report
from deploy_prune.exporting.exporters import EXPORTERS
from deploy_prune.values import Network

SUFFIXES = {"tflite": ".tflite", "onnx": ".onnx", "executorch": ".pte", "coreml": ".mlpackage"}


def _make_network() -> Network:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 3)]
    return Network("benchmarks:network", nn.Sequential(*layers).eval(), ((3, 8, 8),), 3)


def _make_seeds(exporter: str) -> Callable[[Path], list[bytes]]:
    def make(folder: Path) -> list[bytes]:
        path = folder / f"whole{SUFFIXES[exporter]}"
        plugins.build(EXPORTERS, exporter).write(_make_network(), path)
        return [path.read_bytes()]

    return make


def _read(suffix: str, read: Callable[[Path], object]) -> Callable[[Path, bytes], None]:
    def read_file(folder: Path, content: bytes) -> None:
        (folder / f"damaged{suffix}").write_bytes(content)
        read(folder / f"damaged{suffix}")

    return read_file


# --- packages, which are folders: as one input they are a zip of their files -------------------------------------


def _make_packages(folder: Path) -> list[bytes]:
    path = folder / "whole.mlpackage"
    plugins.build(EXPORTERS, "coreml").write(_make_network(), path)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(each for each in path.rglob("*") if each.is_file()):
            archive.write(file, file.relative_to(path).as_posix())
    return [packed.getvalue()]


def _mutate_package(content: bytes, generator: random.Random) -> bytes:
    """Damage to one of the files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as whole, zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as damaged:
        names = whole.namelist()
        chosen = generator.choice(names)
        for name in names:
            file = whole.read(name)
            damaged.writestr(name, mutate_bytes(file, generator) if name == chosen else file)
    return packed.getvalue()


def _read_package(folder: Path, content: bytes) -> None:
    path = folder / "damaged.mlpackage"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(path)
    read_report(path)


KINDS = {
    ".tflite": Kind(_make_seeds("tflite"), _read(".tflite", read_origin)),
    ".onnx": Kind(_make_seeds("onnx"), _read(".onnx", read_report)),
    ".pte": Kind(_make_seeds("executorch"), _read(".pte", read_report)),
    ".mlpackage": Kind(_make_packages, _read_package, _mutate_package),
}
"""What is damaged here, by name. LiteRT would be asked in a process of its own what it does with a .tflite file."""
