"""The dense network on smaller images: which sizes, what it says where there is none, and that it is really timed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploy_prune.graph.recount import recount
from deploy_prune.pipeline.config import RunConfig, load_config
from deploy_prune.pipeline.smaller_images import SmallerRun, smaller_run, smaller_shapes
from deploy_prune.run_folder import open_run
from deploy_prune.sources import checkpoint
from deploy_prune.sources.networks import build_network
from deploy_prune.train import Hooks

MODEL = '''
from torch import nn

class Wide(nn.Module):
    """Takes images of any size, unless it flattens them; wide enough for sizes to differ in time."""

    def __init__(self, classes, flattens):
        super().__init__()
        self.stem = nn.Conv2d(3, 48, 3, stride=2, padding=1)
        self.body = nn.Sequential(*(part for _ in range(4) for part in self.layer()))
        self.flattens = flattens
        self.head = nn.Linear(48 * 16 * 16 if flattens else 48, classes)

    def layer(self):
        return nn.Conv2d(48, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU()

    def forward(self, x):
        x = self.body(self.stem(x).relu())
        return self.head(x.flatten(1) if self.flattens else x.mean((2, 3)))

def pooled(num_classes=10):
    return Wide(num_classes, False)

def flattened(num_classes=10):
    return Wide(num_classes, True)
'''


def config(folder: Path, side: int = 32, *, flattens: bool = False, **changes: Any) -> RunConfig:
    """Of a run whose model is a folder with the dense network."""
    (folder / "net.py").write_text(MODEL)
    address = f"{folder / 'net.py'}:{'flattened' if flattens else 'pooled'}"
    checkpoint.save(build_network(address, classes=10, input_shape=(3, side, side)), folder / "dense")
    return load_config(None, {"model": str(folder / "dense"), "data": "digits", "finetune": None, **changes})


@pytest.mark.parametrize(
    ("side", "sides"), [(224, [192, 160, 128]), (32, [28, 24, 20]), (8, [4]), (4, [])], ids=str
)  # fmt: skip
def test_sizes_are_shares_of_its_own_in_fours_and_really_smaller(tmp_path: Path, side: int, sides: list[int]) -> None:
    assert list(smaller_shapes(config(tmp_path, side))) == [(3, each, each) for each in sides]


def test_a_network_that_flattens_its_images_says_why_there_is_no_smaller_one(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", {}) as folder:
        found = smaller_run(config(tmp_path, flattens=True), (3, 24, 24), folder, Hooks())
    assert found.reason
    assert found == SmallerRun((3, 24, 24), found.reason)


@pytest.mark.slow
@pytest.mark.ci
def test_a_smaller_image_takes_less_time_and_is_judged_at_its_size(tmp_path: Path) -> None:
    """A quarter of the positions; the real converter, the real runtime."""
    recipe = {"epochs": 2, "batch_size": 64, "lr": 0.05, "precision": "fp32"}
    asked = config(tmp_path, finetune=recipe)
    with open_run(tmp_path / "run", {}) as folder:
        found = smaller_run(asked, (3, 16, 16), folder, Hooks())
    assert not found.reason
    assert found.count
    assert found.ratio
    assert found.interval
    assert found.val
    assert found.test
    assert found.count.macs < 0.3 * recount(checkpoint.load(tmp_path / "dense")).macs
    assert found.interval[0] <= found.ratio <= found.interval[1]
    assert found.ratio < 0.6
    assert found.val.value > 0.2  # ten classes, two epochs: it was trained at this size
