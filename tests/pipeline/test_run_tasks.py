"""Images without labels, and networks of any outputs, go the whole road to a verified file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest

from deploy_prune.analysis.report import report
from deploy_prune.errors import ConfigError, DataError, TargetMissed
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.pipeline.max_drop import within_drop
from deploy_prune.pipeline.preflight import adopt_run_folder
from deploy_prune.pipeline.refit_again import open_cut, read_images, refit_again
from deploy_prune.pipeline.run import finetune, prune
from deploy_prune.pipeline.ship import Order, ship
from deploy_prune.records import read_record
from deploy_prune.results import RunSummary
from deploy_prune.train.recipe import Recipe

SOURCE = '''
import dataclasses

import numpy as np
from torch import Tensor, nn

from deploy_prune import ArrayImages, Data


class Two(nn.Module):
    """Class scores, and a map of one channel."""

    def __init__(self, classes):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
                                  nn.Conv2d(16, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU())
        self.head, self.map = nn.Linear(24, classes), nn.Conv2d(24, 1, 1)

    def forward(self, images):
        features = self.body(images)
        return self.head(features.mean((2, 3))), self.map(features)


class Named(Two):
    """The same by name, and the features as an embedding."""

    def forward(self, images):
        scores, map_ = super().forward(images)
        return {"map": map_, "scores": scores, "embedding": self.body(images).mean((2, 3))}


@dataclasses.dataclass
class Found:
    """What a network returns as an object of its own."""

    map: Tensor
    scores: Tensor
    why: str | None = None


class Boxed(Two):
    """The same in an object."""

    def forward(self, images):
        scores, map_ = super().forward(images)
        return Found(map_, scores)


def two(num_classes):
    return Two(num_classes)


def named(num_classes):
    return Named(num_classes)


def boxed(num_classes):
    return Boxed(num_classes)


def maps(num_classes=3):
    """A score per pixel, as a network that segments gives them: (images, classes, 8, 8)."""
    return nn.Sequential(*Two(1).body, nn.Conv2d(24, num_classes, 1))


def embedding(num_classes=4):
    """64 numbers per image, whatever the number of classes."""
    return nn.Sequential(*Two(1).body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 64))


def data(labels):
    drawn = np.random.default_rng(0)
    parts = [ArrayImages(drawn.integers(0, 256, (48, 8, 8, 3)).astype(np.uint8), labels) for _ in range(3)]
    names = () if labels is None else tuple("abcd")
    return Data("mine", names, (0.5,) * 3, (0.25,) * 3, (3, 8, 8), *parts, flip=False, crop_padding=0)


def bare():
    return data(None)


def labelled():
    return data(np.arange(48) % 4)
'''


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """A run of the network with two outputs on images without labels, to one format, which is not timed."""
    file = tmp_path / "own.py"
    file.write_text(SOURCE)
    finetune = Recipe(epochs=1, batch_size=16, lr=0.001, precision="fp32")
    return {
        "model": f"{file}:two", "data": f"{file}:bare", "classes": 4, "budget": "0.6x", "method": "magnitude",
        "targets": ("onnx",), "threads": (), "finetune": finetune,
    }  # fmt: skip


@pytest.mark.heavy
@pytest.mark.parametrize(("source", "quality"), [("bare", "agreement with the dense network"), ("labelled", "top-1")])
def test_two_outputs_arrive_with_and_without_labels(settings: dict[str, Any], source: str, quality: str) -> None:
    folder = Path(settings["model"].rpartition(":")[0]).parent
    summary = prune(RunConfig(**{**settings, "data": settings["data"].replace("bare", source)}), folder / "run")
    assert {summary.dense.val.name, summary.trained.val.name, summary.test.pruned.name} == {quality}
    assert (summary.dense.val.value == 1.0) == (source == "bare")
    (row,) = summary.ship.pruned
    assert row.status == "verified"
    assert row.parity is not None
    assert ("no labels" in row.parity.detail) == (source == "bare")
    assert (row.parity.agreement is None) == (source == "bare")


@pytest.mark.heavy
@pytest.mark.parametrize("model", ["maps", "named", "boxed", "embedding"])
def test_any_outputs_arrive_with_task_none_whatever_the_labels(settings: dict[str, Any], model: str) -> None:
    """The labels are nothing that these networks answer: their files do not claim them."""
    file = settings["model"].rpartition(":")[0]
    own = {"model": f"{file}:{model}", "data": f"{file}:labelled", "task": "none"}
    folder = Path(file).parent / "run"
    summary = prune(RunConfig(**{**settings, **own}), folder)
    assert summary.test.pruned.name == "agreement with the dense network"
    assert summary.cut.count.macs < summary.dense.count.macs
    (row,) = summary.ship.pruned
    assert (row.status, row.parity and row.parity.agreement) == ("verified", None)
    assert row.artifact is not None
    assert "labels" not in {each.key for each in onnx.load(row.artifact.path).metadata_props}


@pytest.mark.heavy
def test_maps_are_judged_by_their_pixels_where_the_number_of_classes_is_known(settings: dict[str, Any]) -> None:
    """The record and the report say so, with how far the outputs are from the dense network's."""
    folder = Path(settings["model"].rpartition(":")[0]).parent
    own = {"model": f"{folder}/own.py:maps", "method": "obs", "finetune": None, "targets": ()}
    summary = prune(RunConfig(**{**settings, **own}), folder / "run")
    assert summary.dense.judged == "output 1 (4, 8, 8): the share of positions with the same best of 4 classes"
    assert summary.dense.val.output_error == 0
    assert summary.cut.refit is not None
    assert summary.cut.refit.val is not None
    before, after, shipped = (
        each.output_error for each in (summary.cut.val, summary.cut.refit.val, summary.test.pruned)
    )
    assert before is not None
    assert after is not None
    assert shipped is not None
    assert 0 < after < before
    assert read_record(folder / "run" / "summary.json", RunSummary) == summary
    text = report(folder / "run")
    assert f"**error of the outputs on test, once** | 0 | {shipped:.4f} (" in text
    assert summary.dense.judged in text


@pytest.mark.heavy
def test_a_drop_is_counted_in_points_of_agreement(settings: dict[str, Any]) -> None:
    """No cut network agrees with the dense one on every number of its map."""
    folder = Path(settings["model"].rpartition(":")[0]).parent
    config = RunConfig(**{**settings, "budget": "0.5x", "finetune": None, "refit": False, "targets": ()})
    search, summary = within_drop(config, 95.0, folder / "run")
    assert (search.quality, search.dense_val) == ("agreement with the dense network", 1.0)
    tried = next(each for each in search.tries if each.run == search.found)
    assert tried.lost_points == pytest.approx(100 * (1 - summary.trained.val.value))
    assert tried.lost_points <= 95
    with pytest.raises(TargetMissed, match=r"at most 1e-09 points of agreement with the dense network"):
        within_drop(config, 1e-9, folder / "none")


@pytest.mark.heavy
@pytest.mark.parametrize("source", ["bare", "labelled"])
def test_what_was_cut_before_is_refitted_and_judged_without_labels(settings: dict[str, Any], source: str) -> None:
    """Labels that the task of the run does not take do not judge either."""
    folder = Path(settings["model"].rpartition(":")[0]).parent
    own = {"refit": False, "recalibrate_images": 0, "finetune": None, "task": "none", "targets": ()}
    prune(RunConfig(**{**settings, **own, "data": f"{folder}/own.py:{source}"}), folder / "run")
    cut = open_cut(folder / "run", None)
    told = refit_again(folder / "run", cut, read_images(folder / "run", cut, None), folder / "again")
    assert told.before is not None
    assert told.refit.val is not None
    assert told.before.name == told.refit.val.name == "agreement with the dense network"
    assert told.before.output_error is not None
    assert told.refit.val.output_error is not None
    assert told.refit.val.output_error < told.before.output_error


@pytest.mark.heavy
def test_what_follows_a_run_knows_its_task(settings: dict[str, Any]) -> None:
    """Another round, and files without a word on data: a map is nothing that classification reads an answer out of."""
    file = settings["model"].rpartition(":")[0]
    own = {"model": f"{file}:maps", "data": f"{file}:labelled", "task": "none"}
    run = Path(file).parent / "run"
    prune(RunConfig(**{**settings, **own}), run)
    again = finetune(run)
    assert again.trained.val.name == "agreement with the dense network"
    (row,) = ship(Order(str(run), ("onnx",)), run.parent / "files")
    assert row.status == "verified"
    assert row.parity is not None
    assert "no labels" in row.parity.detail
    further = adopt_run_folder(RunConfig(model=str(run)))
    assert (further.task, further.data) == ("none", f"{file}:labelled")


@pytest.mark.parametrize(
    ("model", "returned"), [("maps", r"\(2, 4, 8, 8\)"), ("embedding", r"\(2, 64\)"), ("named", r"\(2, 1, 8, 8\) and")]
)
def test_outputs_that_are_no_class_scores_are_refused_before_any_work(
    settings: dict[str, Any], model: str, returned: str
) -> None:
    file = settings["model"].rpartition(":")[0]
    own = {"model": f"{file}:{model}", "data": f"{file}:labelled", "pretrain": Recipe(epochs=1)}
    with pytest.raises(
        ConfigError, match=rf"scores \(2, 4\) first for 2 images of mine, .* returns {returned}"
    ) as caught:
        prune(RunConfig(**{**settings, **own}), Path(file).parent / "run")
    assert "--task none" in caught.value.hint
    assert "hooks" in caught.value.hint
    assert not list((Path(file).parent / "run").glob("dense*"))


@pytest.mark.parametrize("method", ["slimming", "dcp", "dkp"])
def test_a_method_that_needs_labels_is_refused_by_name_before_any_work(settings: dict[str, Any], method: str) -> None:
    folder = Path(settings["model"].rpartition(":")[0]).parent
    with pytest.raises(DataError, match=f"method '{method}' needs labels, and mine has none"):
        prune(RunConfig(**{**settings, "method": method}), folder / "run")
    assert not (folder / "run" / "dense.json").exists()


def test_a_dense_network_is_not_trained_without_labels(settings: dict[str, Any]) -> None:
    folder = Path(settings["model"].rpartition(":")[0]).parent
    with pytest.raises(ConfigError, match="pretrain") as caught:
        prune(RunConfig(**{**settings, "pretrain": Recipe(epochs=1)}), folder / "run")
    assert "--weights" in caught.value.hint
