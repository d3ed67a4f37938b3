"""The dense network on smaller images: which sizes, what it says where there is none, and that it is really timed."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from building import conv, net
from latencies import REFERENCE_MS, made_up, mixed, sample
from torch import nn

from deploy_prune.budget.latency.model import LatencyModel, fit_model
from deploy_prune.budget.latency.store import Store
from deploy_prune.budget.latency.table import Sample
from deploy_prune.graph import trace
from deploy_prune.graph.recount import recount
from deploy_prune.pipeline.config import RunConfig, load_config
from deploy_prune.pipeline.real_file import RealFiles
from deploy_prune.pipeline.smaller_images import (
    SmallerRun,
    measure_smaller,
    prepare_lesson,
    smaller_shapes,
    take_whole_images,
    train_and_judge,
    train_smaller,
)
from deploy_prune.run_folder import open_run
from deploy_prune.sources import checkpoint
from deploy_prune.sources.data import read_data
from deploy_prune.sources.networks import build_network
from deploy_prune.timing.fake_device import FakeDevice
from deploy_prune.train.loop import fit
from deploy_prune.train.recipe import Hooks, Recipe
from deploy_prune.values import Network

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

def maps(num_classes=3):
    return nn.Conv2d(3, 3, 1)

def pooled(num_classes=10):
    return Wide(num_classes, False)

def flattened(num_classes=10):
    return Wide(num_classes, True)
'''


def config(folder: Path, side: int = 32, *, flattens: bool = False, **changes: Any) -> RunConfig:
    """The configuration of a run whose model is a folder with the dense network."""
    (folder / "net.py").write_text(MODEL)
    address = f"{folder / 'net.py'}:{'flattened' if flattens else 'pooled'}"
    checkpoint.save(build_network(address, classes=10, input_shape=(3, side, side)), folder / "dense")
    return load_config(None, {"model": str(folder / "dense"), "data": "digits", "finetune": None, **changes})


@pytest.mark.parametrize(
    ("side", "sides"), [(224, [192, 160, 128]), (32, [28, 24, 20]), (8, [4]), (4, [])], ids=str
)  # fmt: skip
def test_sizes_are_shares_of_its_own_in_fours_and_really_smaller(side: int, sides: list[int]) -> None:
    assert list(smaller_shapes((3, side, side))) == [(3, each, each) for each in sides]


def test_a_network_that_flattens_its_images_says_why_there_is_no_smaller_one(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", {}) as folder:
        found = train_smaller(config(tmp_path, flattens=True), (3, 24, 24), folder, Hooks())
    assert found.reason
    assert found == SmallerRun((3, 24, 24), found.reason)


@dataclass
class Pixels:
    """A file is the shape of its image, and takes what its pixels are to those of the whole."""

    written: list[tuple[int, ...]] = field(default_factory=list)

    def write(self, network: Network, exporter: str) -> bytes:
        self.written.append(network.input_shape)
        return json.dumps(network.input_shape).encode()

    def ms(self, path: Path) -> float:
        _, height, width = json.loads(path.read_text())
        return REFERENCE_MS * height * width / 256

    def files(self, store: Store) -> RealFiles:
        return RealFiles(FakeDevice(self.ms), store, self.write)


def known(network: Network, store: Store, *more: Sample) -> LatencyModel:
    table = made_up(trace(network), noise=0.0)
    table = dataclasses.replace(table, samples=(*table.samples, *more))
    store.begin(table)
    store.add(table, *table.samples)
    return fit_model(table)


def test_smaller_images_are_timed_once_and_kept(store: Store) -> None:
    pixels, network = Pixels(), dataclasses.replace(mixed(), input_shapes=((3, 16, 16),))
    model = known(network, store)
    rows = measure_smaller(network, model, pixels.files(store))
    assert [row.input_shape for row in rows] == [(3, 12, 12), (3, 8, 8)]
    assert [row.measured_ms for row in rows] == pytest.approx([REFERENCE_MS * 144 / 256, REFERENCE_MS * 64 / 256])
    assert pixels.written == [(3, 12, 12), (3, 8, 8), (3, 16, 16)]
    table = store.find(model.profile.network, model.target)
    assert table
    again = measure_smaller(network, fit_model(table), pixels.files(store))
    assert again == rows
    assert len(pixels.written) == 3


def test_what_the_table_has_is_not_converted_again(store: Store) -> None:
    """Images of 8 x 8 would become 6/7 as wide, which rounds to 8 again and is no smaller image."""
    pixels = Pixels()
    model = known(mixed(), store, sample((21, 38, 11), 0.4, input_shape=(3, 4, 4)))
    (row,) = measure_smaller(mixed(), model, pixels.files(store))
    assert row.input_shape == (3, 4, 4)
    assert row.measured_ms == pytest.approx(0.4 * REFERENCE_MS)
    assert row.interval_ms == pytest.approx((0.396 * REFERENCE_MS, 0.404 * REFERENCE_MS))
    assert not pixels.written


def test_a_size_that_the_network_does_not_take_is_named_with_its_reason(store: Store) -> None:
    """A flattened image leaves the linear layer no choice; what is not written is not timed."""
    network = net(lambda m, x: m.l(m.a(x).flatten(1)), (3, 16, 16), a=conv(3, 40), l=nn.Linear(40 * 256, 5))
    pixels = Pixels()
    rows = measure_smaller(network, known(network, store), pixels.files(store))
    assert [row.input_shape for row in rows] == [(3, 12, 12), (3, 8, 8)]
    assert all(row.measured_ms is None and row.interval_ms is None for row in rows)
    assert all(row.reason.startswith("the network cannot be run: RuntimeError") for row in rows)
    assert not pixels.written


def test_a_map_has_nothing_to_be_held_against_at_another_size(tmp_path: Path) -> None:
    asked = config(tmp_path, task="none")
    maps = build_network(f"{tmp_path / 'net.py'}:maps", input_shape=(3, 32, 32))
    checkpoint.save(maps, tmp_path / "dense")
    with open_run(tmp_path / "run", {}) as folder:
        outcome = train_smaller(asked, (3, 24, 24), folder, Hooks())
    said = "outputs of shapes [(1, 3, 24, 24)] cannot be held against those of whole images, [(1, 3, 32, 32)]"
    assert outcome == SmallerRun((3, 24, 24), said)


def test_a_pupil_sees_the_whole_images_smaller_and_keeps_its_weights(tmp_path: Path) -> None:
    """Even images lose nothing by it; the network itself stays as it was."""
    whole = checkpoint.load(Path(config(tmp_path).model))
    small = dataclasses.replace(whole, input_shapes=((3, 16, 16),))
    pupil = take_whole_images(small, whole)
    assert pupil.input_shapes == whole.input_shapes
    assert pupil.module.state_dict().keys() == whole.module.state_dict().keys()
    even = torch.linspace(-1, 1, 4)[:, None, None, None].expand(4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(pupil.module(even), small.module(even[:, :, :16, :16]))
        assert not torch.allclose(pupil.module(even), whole.module(even))


@pytest.mark.heavy
def test_without_labels_a_pupil_comes_nearer_to_what_is_said_of_whole_images(tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, batch_size=32, lr=0.05, precision="fp32", images=320)
    asked = config(tmp_path, task="none", finetune=recipe)
    whole = fit(checkpoint.load(Path(asked.model)), read_data("digits"), recipe)
    small = dataclasses.replace(whole, input_shapes=((3, 16, 16),))
    lesson = prepare_lesson(small, whole, asked, Hooks(), tmp_path)
    judged = []
    for name, each in (("as it is", asked.model_copy(update={"finetune": None})), ("trained", asked)):
        with open_run(tmp_path / name, {}) as folder:
            _, val, test = train_and_judge(lesson, each, folder)
        assert (val.name, test.name, val.items) == (*["agreement with the dense network"] * 2, 270)
        judged.append(val.value)
    assert judged[1] > judged[0] + 0.1


@pytest.mark.slow
@pytest.mark.ci
def test_a_smaller_image_takes_less_time_and_is_judged_at_its_size(tmp_path: Path) -> None:
    """A quarter of the positions; the real converter, the real runtime."""
    recipe = {"epochs": 2, "batch_size": 64, "lr": 0.05, "precision": "fp32"}
    asked = config(tmp_path, finetune=recipe)
    with open_run(tmp_path / "run", {}) as folder:
        found = train_smaller(asked, (3, 16, 16), folder, Hooks())
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
