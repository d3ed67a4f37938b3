"""The tiny runs that `benchmarks.kills` kills: their network and images, their commands, and what they result in."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from tests.support.tinyrun import MODEL

IMAGES = """
import numpy as np
from deploy_prune.sources.images import ArrayImages
from deploy_prune.values import Data

def _images(count, seed):
    drawn = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    pixels = drawn.integers(0, 120, (count, 8, 8, 3))
    for label in range(4):  # each class lights one quarter up
        row, column = divmod(label, 2)
        pixels[labels == label, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 90
    return ArrayImages(pixels.astype(np.uint8), labels.astype(np.int64))

def read():
    split = [_images(count, seed) for seed, count in enumerate((240, 40, 40))]
    return Data("tiny", ("a", "b", "c", "d"), (0.4,) * 3, (0.25,) * 3, (3, 8, 8), *split, False, 0)
"""

SETTINGS = """
model = "net.py:build"
data = "data.py:read"
targets = []
threads = []
recalibrate_images = 80
[pretrain]
epochs = 3
batch_size = 20
lr = 0.05
precision = "fp32"
[finetune]
epochs = 4
batch_size = 20
lr = 0.05
precision = "fp32"
"""

LEGR = {"candidates": 12, "population": 4, "tournament": 2, "images": 40, "norm_images": 40, "lag": 2, "steps": 2,
        "finalists": 0}  # fmt: skip
DCP = {"heads": 0, "images": 64, "batch_size": 32, "steps": 4}
OUT = "run"

RUNS: dict[str, list[str]] = {
    "plain": ["prune", "--config", "run.toml", "--budget", "0.5x", "--target", "onnx", "--threads", "1"],
    "dcp": ["prune", "--config", "run.toml", "--budget", "0.5x", "--method", "dcp",
            *(part for key, value in DCP.items() for part in ("--method-option", f"{key}={value}"))],
    "front": ["prune", "--config", "run.toml", "--budget", "0.8x,0.5x"],
    "max drop": ["prune", "--config", "run.toml", "--budget", "0.5x", "--max-drop", "100", "--workers", "2",
                 "--method", "legr",
                 *(part for key, value in LEGR.items() for part in ("--method-option", f"{key}={value}"))],
    "export": ["export", "net.py:build", "--classes", "4", "--input-shape", "3,8,8", "--weights", "weights.safetensors",
               "--target", "onnx"],
}  # fmt: skip
"""The kinds of runs by name: their command lines, in a folder with the files above; each writes to `OUT`."""

NO_RESULTS = ("report.md", "summary.json", "timed-", "report.html", "front.png", "training-", "dense-training")
"""What the names of files begin with that hold times, are made of those that do, or are the states of a training."""
TIMES = frozenset({"seconds", "wall_s", "latency_ms", "latency_interval_ms", "ratio", "interval"})
"""Keys of records whose values are times, or follow from them."""


def lay_out(folder: Path, weights: bytes) -> None:
    """Write the files that the command lines name."""
    folder.mkdir(parents=True)
    for name, text in {"net.py": MODEL, "data.py": IMAGES, "run.toml": SETTINGS}.items():
        (folder / name).write_text(text)
    (folder / "weights.safetensors").write_bytes(weights)


def make_weights() -> bytes:
    """Weights of the network, always the same, for the run that only exports."""
    import torch
    from safetensors.torch import save

    names: dict[str, Any] = {}
    exec(MODEL, names)
    torch.manual_seed(0)
    return save(names["build"]().state_dict())


def command(run: str) -> list[str]:
    """The command line of a kind of runs, for this very interpreter."""
    return [sys.executable, "-m", "deploy_prune", *RUNS[run], "--out", OUT]


def digest_results(folder: Path) -> dict[str, str]:
    """The digest of every file that a run in a folder left as its result, without times."""
    out = folder / OUT
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(_read_result(path)).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and not path.name.startswith((".", *NO_RESULTS))
    }


def _read_result(path: Path) -> bytes:
    if path.suffix == ".safetensors":
        return _read_tensors(path.read_bytes())
    if path.suffix != ".json":
        return path.read_bytes()
    return _without_times(path.read_text())


def _read_tensors(content: bytes) -> bytes:
    """Tensors as they are, and what the header says without times: that of a refitted layer has the layer's record."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    about = header.get("__metadata__", {})
    if "layer" in about:
        about["layer"] = _without_times(about["layer"]).decode()
    return json.dumps(header, sort_keys=True).encode() + content[start:]


def _without_times(text: str) -> bytes:
    return json.dumps(_drop_times(json.loads(text)), sort_keys=True).encode()


def _drop_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _drop_times(each) for key, each in value.items() if key not in TIMES}
    return [_drop_times(each) for each in value] if isinstance(value, list) else value
