"""Studies of toy networks: random images of the right kind, a budget in MACs, a trained network that knows stripes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from deploy_prune import plugins
from deploy_prune.budget.allocate import allocate
from deploy_prune.budget.widths import Limits
from deploy_prune.graph import trace
from deploy_prune.scoring.study import Study
from deploy_prune.scoring.top_units import best_units
from deploy_prune.sources.images import ArrayImages
from deploy_prune.train.loop import fit
from deploy_prune.train.recipe import Recipe
from deploy_prune.values import Data, Network, Scores

FAST: dict[str, dict[str, Any]] = {
    "legr": {
        "candidates": 8, "population": 6, "tournament": 2, "images": 20, "norm_images": 20, "lag": 2, "finalists": 3,
    },
    "slimming": {"epochs": 1, "batch_size": 16, "precision": "fp32"},
    "dcp": {"heads": 1, "images": 32, "batch_size": 16, "head_images": 32, "head_epochs": 1, "steps": 3},
    "dkp": {"heads": 1, "images": 32, "batch_size": 16, "head_images": 32, "head_epochs": 1, "steps": 4},
}  # fmt: skip
"""Options with which a method that trains, searches or selects takes a moment."""


def noise(network: Network, *, images: int = 48) -> Data:
    """Random images and labels of the network's kind."""
    channels, height, width = network.input_shape
    drawn = np.random.default_rng(0)

    def split() -> ArrayImages:
        pixels = drawn.integers(0, 256, (images, height, width, channels)).astype(np.uint8)
        return ArrayImages(pixels, (np.arange(images) % network.classes).astype(np.int64))

    names = tuple(map(str, range(network.classes)))
    shape = (channels, height, width)
    return Data("noise", names, (0.5,) * channels, (0.25,) * channels, shape, split(), split(), split(), False, 0)


def stripes(*, images: int = 192, side: int = 8) -> Data:
    """Class 0: horizontal stripes, 1: vertical, 2: both, 3: neither, in noise."""
    drawn = np.random.default_rng(0)

    def split() -> ArrayImages:
        labels = np.arange(images) % 4
        pattern = np.zeros((4, side, side), np.int64)
        pattern[0, ::2] = pattern[1, :, ::2] = 90
        pattern[2] = (pattern[0] + pattern[1]) // 2
        grey = pattern[labels] + drawn.integers(0, 130, (images, side, side))
        return ArrayImages(np.repeat(grey[..., None], 3, axis=3).astype(np.uint8), labels.astype(np.int64))

    return Data("stripes", tuple("hvbn"), (0.4,) * 3, (0.25,) * 3, (3, side, side), split(), split(), split(), False, 1)


def block(inputs: int, outputs: int, **options: Any) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False, **options), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def stack(*, seed: int = 0) -> Network:
    """Three convolutions with norms, then a classifier: 3 free groups of 12, 16 and 20 units."""
    torch.manual_seed(seed)
    module = nn.Sequential(
        block(3, 12), block(12, 16), block(16, 20), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(20, 4)
    )
    return Network("tests:stack", module.eval(), ((3, 8, 8),), 4)


def trained(network: Network, data: Data, *, epochs: int = 4) -> Network:
    return fit(network, data, Recipe(epochs=epochs, batch_size=32, lr=0.05, precision="fp32"))


def study(network: Network, data: Data | None = None, *, budget: float = 0.6, seed: int = 0, **rest: Any) -> Study:
    """A study with images (noise, if none are given) and a budget of so much of the MACs."""
    graph = trace(network)
    macs = plugins.build("costs", "macs").model(graph)
    limit = budget * float(macs(np.array([group.width for group in graph.free])))

    def plan(scores: Scores) -> dict[str, tuple[int, ...]]:
        return dict(best_units(scores, allocate(graph, scores, macs, limit, Limits())))

    return Study(network, graph, data or noise(network), seed, plan=plan, **rest)


def with_folder(of: Study, folder: Path) -> Study:
    return dataclasses.replace(of, folder=folder)
