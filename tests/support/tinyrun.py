"""A network, data and a configuration that a whole run of the pipeline takes a few seconds for."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy_prune.pipeline.config import RunConfig, load_config
from deploy_prune.records import write_record
from deploy_prune.results import ShipResult
from deploy_prune.values import Artifact, NetworkIdentity, Plan, Shipment

MODEL = '''
from torch import nn

class Tiny(nn.Module):
    """Two free groups: the residual stream (stem, 16 units) and the block's inside (24 units)."""

    def __init__(self, classes):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.up = nn.Sequential(nn.Conv2d(16, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(24, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16))
        self.head = nn.Linear(16, classes)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.down(self.up(x))
        return self.head(x.mean((2, 3)))

def build(num_classes=4):
    return Tiny(num_classes)
'''

DATA = '''
import time
from pathlib import Path

import numpy as np
from deploy_prune.sources.images import ArrayImages
from deploy_prune.values import Data

HERE = Path(__file__).parent

class Guarded:
    """Images whose pixels nobody may read before the test stage begins."""

    def __init__(self, images):
        self.images, self.labels = images, images.labels

    def __len__(self):
        return len(self.images)

    def read(self, indices):
        if not (HERE / "test-may-be-read").exists():
            raise RuntimeError("the test split was read")
        return self.images.read(indices)

class Slow:
    """Each batch takes a while, so that a signal can arrive in the middle."""

    def __init__(self, images, seconds):
        self.images, self.labels, self.seconds = images, images.labels, seconds

    def __len__(self):
        return len(self.images)

    def read(self, indices):
        time.sleep(self.seconds)
        return self.images.read(indices)

def _images(count, seed):
    drawn = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    pixels = drawn.integers(0, 120, (count, 8, 8, 3))
    for label in range(4):  # each class lights one quarter up
        row, column = divmod(label, 2)
        pixels[labels == label, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 90
    return ArrayImages(pixels.astype(np.uint8), labels.astype(np.int64))

def _data(train, val, test):
    return Data("tiny", ("a", "b", "c", "d"), (0.4,) * 3, (0.25,) * 3, (3, 8, 8), train, val, test, False, 0)

def read():
    return _data(_images(120, 1), _images(40, 2), _images(40, 3))

def guarded():
    return _data(_images(120, 1), _images(40, 2), Guarded(_images(40, 3)))

def slow():
    return _data(Slow(_images(120, 1), 0.05), _images(40, 2), _images(40, 3))
'''

DENSE_MACS = 64 * (27 * 16 + 16 * 24 + 9 * 24 * 16) + 16 * 4
"""64 positions x (stem + up + down) + the head."""
DENSE_PARAMS = 27 * 16 + 2 * 16 + 16 * 24 + 2 * 24 + 9 * 24 * 16 + 2 * 16 + 16 * 4 + 4

RUNTIMES = {
    ".tflite": "litert",
    ".onnx": "onnxruntime",
    ".mlpackage": "coreml",
    ".aimodel": "coreai",
    ".pte": "executorch",
}
"""Suffix of an exported file -> the runtime plugin that runs it."""

FORMATS = {".tflite": "tflite", ".onnx": "onnx", ".mlpackage": "coreml", ".aimodel": "coreai", ".pte": "executorch"}
"""Suffix of an exported file -> the exporter plugin of its format."""

QUICK: Mapping[str, Any] = {"epochs": 1, "batch_size": 40, "lr": 0.05, "precision": "fp32"}


def written(folder: Path) -> Path:
    """`net.py` and `data.py` in a folder."""
    (folder / "net.py").write_text(MODEL)
    (folder / "data.py").write_text(DATA)
    return folder


def config(folder: Path, **changes: Any) -> RunConfig:
    """Nothing exported, timed or refitted, two epochs in all; `changes` replace keys."""
    values = {
        "model": f"{folder}/net.py:build",
        "data": f"{folder}/data.py:read",
        "pretrain": dict(QUICK),
        "finetune": dict(QUICK),
        "targets": (),
        "threads": (),
        "recalibrate_images": 80,
        "refit": False,
    }
    return load_config(None, values | changes)


def toml(folder: Path, *, epochs: int = 1, **changes: Any) -> Path:
    """The same as a file for the command line; `epochs` of fine-tuning."""
    values = {
        "model": f"{folder}/net.py:build",
        "data": f"{folder}/data.py:read",
        "targets": [],
        "threads": [],
        "recalibrate_images": 80,
        "refit": False,
    } | changes
    lines = [f"{key} = {_literal(value)}" for key, value in values.items()]
    for table, recipe in (("pretrain", QUICK), ("finetune", {**QUICK, "epochs": epochs})):
        lines += [f"[{table}]", *(f"{key} = {_literal(value)}" for key, value in recipe.items())]
    path = folder / "run.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def weights_sha256(run: Path, *, number: int = 1) -> str:
    """The digest of the weights of a run's trained network."""
    return hashlib.sha256((run / f"round-{number}" / "weights.safetensors").read_bytes()).hexdigest()


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def by_hand(folder: Path, keep: dict[str, tuple[int, ...]]) -> Path:
    """A plan file."""
    write_record(folder / "mine.json", Plan(network="", keep=keep))
    return folder / "mine.json"


def exported(run: Path, files: Sequence[Path], *, number: int = 1, moved_from: str = "elsewhere") -> Path:
    """A run folder by hand, of which only the export stage is there: each file once as dense and once as pruned.

    The records say where the files were when the run was somewhere else.
    """
    folder = run / f"export-{number}"
    folder.mkdir(parents=True)
    rows: dict[str, list[Shipment]] = {"dense": [], "pruned": []}
    for file in files:
        for stem, shipments in rows.items():
            copy = shutil.copytree if file.is_dir() else shutil.copy
            copy(file, folder / f"{stem}{file.suffix}")
            artifact = Artifact(
                path=f"{moved_from}/{stem}{file.suffix}", format=FORMATS[file.suffix],
                network=NetworkIdentity("net", digest=stem), runtime=RUNTIMES[file.suffix], precision="fp32",
                layout="nchw", input_shape=(3, 16, 24), dynamic_batch=False, size_bytes=1, sha256="0", exporter="x 1",
                seconds=1.0,
            )  # fmt: skip
            shipments.append(Shipment(artifact.format, "verified", artifact))
    write_record(run / "run.json", {"model": "net"}, dict)
    write_record(run / f"shipped-{number}.json", ShipResult(tuple(rows["dense"]), tuple(rows["pruned"])))
    return run
