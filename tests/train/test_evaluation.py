"""Accuracies carry their intervals; differences are between the same images; norms are measured anew."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from deploy_prune.errors import ConfigError, Diverged
from deploy_prune.sources.images import ArrayImages
from deploy_prune.train.batches import augment, choose_training_part, count_batches, draw_epoch
from deploy_prune.train.evaluation import compare_in_pairs, evaluate, wilson_interval
from deploy_prune.train.recalibration import recalibrate_norms
from deploy_prune.train.recipe import Hooks, Recipe
from deploy_prune.values import Data, Network, Quality


def levels(count=10, *, flip=False, crop_padding=0):
    """1x1 grey images of level 0, 10, 20, ...; class 1 from level 50 up."""
    grey = (np.arange(count) * 10 % 256).astype(np.uint8)
    pixels = np.broadcast_to(grey[:, None, None, None], (count, 1, 1, 3)).copy()
    split = ArrayImages(pixels, (grey >= 50).astype(np.int64))
    return Data("levels", ("dark", "light"), (0.0,) * 3, (1.0,) * 3, (3, 1, 1), split, split, split, flip, crop_padding)


def threshold(level: float) -> Network:
    """Answers 1 for images brighter than `level`."""
    linear = nn.Linear(3, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
        linear.bias.copy_(torch.tensor([0.0, -level / 255]))
    return Network("threshold", nn.Sequential(nn.Flatten(), linear).eval(), ((3, 1, 1),), 2)


def test_top1_is_the_share_of_hits_image_by_image():
    quality = evaluate(threshold(65), levels().test, levels(), batch_size=3)
    # Levels 50 and 60 are light and called dark.
    assert quality.per_item == (1.0,) * 5 + (0.0,) * 2 + (1.0,) * 3
    assert (quality.name, quality.value, quality.items) == ("top-1", 0.8, 10)


def test_norms_are_folded_in_a_copy_and_few_images_are_judged_at_once():
    network = threshold(45)
    network.module.insert(0, nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.BatchNorm2d(3)))
    with torch.no_grad():
        network.module[0][0].weight.copy_(2 * torch.eye(3)[..., None, None])
        network.module[0][1].weight.fill_(0.5)
    network.module.eval()
    told = []
    quality = evaluate(network, levels().test, levels(), progress=lambda *said: told.append(said[1:3]))
    assert quality.per_item == evaluate(threshold(45), levels().test, levels()).per_item
    assert isinstance(network.module[0][1], nn.BatchNorm2d)
    assert told == [(10, 10)]


def test_a_network_in_training_mode_is_judged_in_eval_mode_and_left_as_it_was():
    network = threshold(45)
    network.module.append(nn.Dropout(0.99)).train()
    assert evaluate(network, levels().test, levels()).value == 1.0
    assert network.module.training


class Viewed(nn.Module):
    """Two pixels of three channels, seen as a row by `view`, which takes the usual layout alone."""

    asked: ClassVar[list[str]] = []
    """Where it computed, each time that it or a copy was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.asked.append(x.device.type)
        out: torch.Tensor = self.linear(x.view(len(x), -1))
        return out


def test_a_network_that_takes_no_images_channels_last_is_judged_like_any_other():
    grey = np.arange(60, dtype=np.uint8).reshape(10, 1, 2, 3) * 4
    split = ArrayImages(grey, np.arange(10) % 2)
    data = Data("pairs", ("even", "odd"), (0.0,) * 3, (1.0,) * 3, (3, 1, 2), split, split, split, False, 0)
    network = Network("viewed", Viewed().eval(), ((3, 1, 2),), 2)
    Viewed.asked.clear()
    quality = evaluate(network, split, data, batch_size=2)
    assert Viewed.asked.count("cpu") == 6, "the layout is tried once"
    pixels = torch.from_numpy(grey).permute(0, 3, 1, 2).contiguous() / 255
    hits = network.module(pixels).argmax(1).numpy() == split.labels
    assert quality.per_item == tuple(map(float, hits))


def test_wilson_interval_matches_the_published_example():
    # Newcombe 1998, Statistics in Medicine 17:857, table I: 81 of 263 -> 0.2553 to 0.3662; 0 of 20 -> 0 to 0.1611.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def judged(hits):
    return Quality("top-1", sum(hits) / len(hits), (0.0, 1.0), len(hits), 0.0, tuple(map(float, hits)))


def test_a_paired_difference_counts_only_images_on_which_two_networks_differ():
    before = [True] * 90 + [False] * 10
    after = [False] * 4 + [True] * 86 + [True] * 1 + [False] * 9
    difference, (low, high) = compare_in_pairs(judged(before), judged(after))
    assert difference == pytest.approx(-0.03)
    # One half in each cell: (1 - 4) / 102 +- 1.96 sqrt(6 - 9 / 102) / 102.
    assert (low, high) == pytest.approx((-0.02941 - 0.04672, -0.02941 + 0.04672), abs=1e-4)


def test_two_networks_that_never_differ_still_have_an_interval():
    difference, (low, high) = compare_in_pairs(judged([True, False]), judged([True, False]))
    assert difference == 0
    assert low < 0 < high


def test_other_images_cannot_be_compared_in_pairs():
    with pytest.raises(ConfigError, match="2 and 3 images"):
        compare_in_pairs(judged([True] * 2), judged([True] * 3))


def test_two_qualities_are_not_compared():
    other = dataclasses.replace(judged([True] * 2), name="top-5")
    with pytest.raises(ConfigError, match="top-1 and top-5 are two qualities"):
        compare_in_pairs(judged([True] * 2), other)


def test_numbers_that_are_no_hits_are_paired_by_their_mean_difference():
    before = Quality("depth", 0.5, (0.0, 1.0), 3, 0.0, (0.2, 0.5, 0.8))
    after = Quality("depth", 0.6, (0.0, 1.0), 3, 0.0, (0.3, 0.5, 1.0))
    difference, interval = compare_in_pairs(before, after)
    assert difference == pytest.approx(0.1)
    # Differences 0.1, 0 and 0.2: deviation 0.1, so 0.1 +- 1.96 * 0.1 / sqrt(3).
    assert interval == pytest.approx((0.1 - 0.11316, 0.1 + 0.11316), abs=1e-5)


def test_the_callers_metric_is_used_under_its_name():
    def distance(logits, labels):
        return (logits.argmax(1) - labels).abs() * 0.5

    quality = evaluate(threshold(65), levels().test, levels(), hooks=Hooks(metric=distance))
    assert (quality.name, quality.value) == ("distance", pytest.approx(0.1))
    assert quality.per_item == (0.0,) * 5 + (0.5,) * 2 + (0.0,) * 3
    unnamed = evaluate(threshold(65), levels().test, levels(), hooks=Hooks(metric=lambda logits, labels: labels))
    assert unnamed.name == "your metric"
    with pytest.raises(ConfigError, match=r"gives shape \(\) for 10 images"):
        evaluate(threshold(65), levels().test, levels(), hooks=Hooks(metric=lambda logits, labels: logits.sum()))

    with pytest.raises(ConfigError, match="gives a float for 10 images"):
        evaluate(threshold(65), levels().test, levels(), hooks=Hooks(metric=lambda logits, labels: 0.5))


def test_a_network_that_gives_nan_has_no_accuracy():
    network = threshold(65)
    network.module[1].bias.data[0] = float("nan")
    with pytest.raises(Diverged, match="threshold gives outputs that are NaN or infinite"):
        evaluate(network, levels().test, levels())


@pytest.mark.parametrize(
    ("hooks", "said"),
    [
        (Hooks(metric=lambda logits, labels: labels / 0), "your metric gives NaN or infinity"),
        (Hooks(loss=lambda logits, labels: logits.sum() * float("nan")), "your loss gives NaN or infinity"),
    ],
)
def test_a_hook_that_gives_nan_for_finite_outputs_is_told_apart(hooks: Hooks, said: str):
    with pytest.raises(ConfigError, match=said):
        evaluate(threshold(65), levels().test, levels(), hooks=hooks)


def test_norms_hold_the_mean_and_variance_of_the_training_images():
    data = levels(26)
    norm = nn.BatchNorm2d(3, momentum=0.3)
    network = Network("norm", nn.Sequential(norm, nn.Flatten(), nn.Dropout(0.5), nn.Linear(3, 2)), ((3, 1, 1),), 2)
    new = recalibrate_norms(network, data, images=26).module[0]
    pixels = np.arange(26) * 10 / 255
    assert new.running_mean.tolist() == pytest.approx([pixels.mean()] * 3, rel=1e-5)
    assert new.running_var.tolist() == pytest.approx([pixels.var(ddof=1)] * 3, rel=1e-5)
    assert new.momentum == 0.3
    assert norm.running_mean.tolist() == [0.0] * 3


def test_crops_and_flips_move_whole_images():
    image = np.arange(1, 13, dtype=np.uint8).reshape(1, 3, 4, 1)
    data = dataclasses.replace(levels(), flip=True, crop_padding=1)
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)))[0, :, :, 0]
    windows = [padded[row : row + 3, column : column + 4] for row in range(3) for column in range(3)]
    allowed = {window.tobytes() for window in windows} | {window[:, ::-1].tobytes() for window in windows}
    many = augment(np.repeat(image, 400, axis=0), data, torch.Generator().manual_seed(0))
    assert {one[:, :, 0].tobytes() for one in many} == allowed


def test_without_crop_and_flip_images_stay_as_they_are():
    image = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    assert np.array_equal(augment(image, levels(), torch.Generator()), image)


def test_an_epoch_shows_every_image_once():
    labels = torch.cat([batch.target for batch in draw_epoch(levels(), np.arange(10), batch_size=4, seed=3)])
    assert sorted(labels.tolist()) == [0] * 5 + [1] * 5
    assert [count_batches(images, 4) for images in (8, 9, 10)] == [2, 2, 3]


def test_a_part_of_the_images_is_stratified_and_fixed():
    data = levels(100)
    recipe = Recipe(epochs=1, images=50)
    part = choose_training_part(data, recipe)
    assert len(part) == pytest.approx(50, abs=1)
    share = data.train.labels.mean()
    assert data.train.labels[part].mean() == pytest.approx(share, abs=0.05)
    assert np.array_equal(part, choose_training_part(data, recipe))
