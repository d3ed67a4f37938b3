"""Networks of every kind of output go from a cut by OBS and the refit to verified files, without a label."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy_prune.analysis.report import report
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.pipeline.refit_stage import CUT
from deploy_prune.pipeline.run import prune
from deploy_prune.values import quiet

pytestmark = pytest.mark.heavy

SOURCE = '''
import numpy as np
import torch
from torch import nn

from deploy_prune import ArrayImages, Data


def convolve(inputs, outputs, stride=1):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class UNet(nn.Module):
    """Two levels, joined by a skip: (images, classes, height, width)."""

    def __init__(self, classes):
        super().__init__()
        self.top, self.down, self.bottom = convolve(3, 16), convolve(16, 24, stride=2), convolve(24, 24)
        self.up, self.join = nn.ConvTranspose2d(24, 16, 2, 2), convolve(32, 16)
        self.head = nn.Conv2d(16, classes, 1)

    def forward(self, images):
        top = self.top(images)
        up = self.up(self.bottom(self.down(top)))
        return self.head(self.join(torch.cat([top, up], 1)))


class Two(nn.Module):
    """Class scores, and a map of one channel at half the size."""

    def __init__(self, classes):
        super().__init__()
        self.body = nn.Sequential(convolve(3, 16), convolve(16, 24, stride=2))
        self.deeper, self.head, self.map = convolve(24, 24), nn.Linear(24, classes), nn.Conv2d(24, 1, 1)

    def forward(self, images):
        features = self.body(images)
        return self.head(self.deeper(features).mean((2, 3))), self.map(features)


class Larger(nn.Module):
    """The image at twice its size: what is missing is added to its nearest neighbours."""

    def __init__(self):
        super().__init__()
        self.first, self.body = nn.Conv2d(3, 16, 3, padding=1), nn.Sequential(convolve(16, 24), convolve(24, 16))
        self.last, self.shuffle = nn.Conv2d(16, 12, 3, padding=1), nn.PixelShuffle(2)
        self.resize = nn.Upsample(scale_factor=2)

    def forward(self, images):
        features = self.first(images)
        return self.resize(images) + self.shuffle(self.last(features + self.body(features)))


def unet(num_classes):
    return UNet(num_classes)


def two(num_classes):
    return Two(num_classes)


def larger():
    return Larger()


def data(side, count):
    drawn = np.random.default_rng(0)
    parts = [ArrayImages(drawn.integers(0, 256, (count, side, side, 3)).astype(np.uint8), None) for _ in range(3)]
    return Data("mine", (), (0.5,) * 3, (0.25,) * 3, (3, side, side), *parts, flip=False, crop_padding=0)


def small():
    return data(16, 48)


def middling():
    return data(64, 16)
'''
LRASPP = "torchvision:lraspp_mobilenet_v3_large"
POSITIONS = "the share of positions with the same best of 4 classes"
JUDGED = {
    "unet": f"output 1 (4, 16, 16): {POSITIONS}",
    "two": "output 1 (4,): the share of images with the same best of 4 classes; output 2 (1, 8, 8): 1 - |output",
    "larger": "output 1 (3, 32, 32): 1 - |output - dense| / |dense|, as it holds no class scores",
    LRASPP: f"output 1 (4, 64, 64): {POSITIONS}",
}  # fmt: skip
"""The network -> how the record and the report say that it was judged."""


@pytest.mark.parametrize("model", ["unet", "two", "larger", pytest.param(LRASPP, marks=pytest.mark.slow)])
def test_a_network_is_cut_refitted_judged_and_shipped(model: str, tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(SOURCE)
    config = RunConfig(
        model=model if ":" in model else f"{own}:{model}",
        data=f"{own}:{'middling' if model == LRASPP else 'small'}",
        classes=None if model == "larger" else 4,
        budget="0.6x", method="obs", finetune=None, targets=("tflite", "onnx"), threads=(),
    )  # fmt: skip
    summary = prune(config, tmp_path / "run", progress=quiet)
    assert summary.cut.count.macs <= 0.6 * summary.dense.count.macs
    refit = summary.cut.refit
    assert refit is not None
    assert refit.errors[refit.chosen] < refit.errors[CUT]
    before, after = summary.cut.val.output_error, summary.test.pruned.output_error
    assert before is not None
    assert after is not None
    assert 0 < after < before
    assert {row.format: row.status for row in summary.ship.pruned} == {"tflite": "verified", "onnx": "verified"}
    assert JUDGED[model] in summary.dense.judged
    assert JUDGED[model] in report(tmp_path / "run")
