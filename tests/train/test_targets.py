"""A batch's target is its labels, or what the dense network returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from studies import stack, stripes
from torch import Tensor, nn

from deploy_prune.errors import ConfigError, DataError
from deploy_prune.sources.images import ArrayImages
from deploy_prune.train.recipe import Batch, Hooks
from deploy_prune.train.targets import add_target, check_outputs, describe_judgement, find_dense_network, find_task
from deploy_prune.train.tasks.classification import Classification
from deploy_prune.train.tasks.none import Unlabelled
from deploy_prune.values import Network

LABELLED = stripes(images=8)
PLAIN = ArrayImages(LABELLED.train.read(torch.arange(8).numpy()))
BARE = dataclasses.replace(LABELLED, train=PLAIN, val=PLAIN, test=PLAIN)


def test_the_data_decide_the_task_unless_it_is_named() -> None:
    network = stack()
    assert (find_task(network, Hooks(), LABELLED), find_task(network, Hooks(), BARE)) == (
        Classification(),
        Unlabelled(classes=4),
    )
    assert find_task(dataclasses.replace(network, classes=None), Hooks(), BARE) == Unlabelled()
    assert find_task(network, Hooks(task=Unlabelled()), LABELLED) == Unlabelled()
    with pytest.raises(DataError, match="needs labels, and stripes has none"):
        find_task(network, Hooks(task=Classification()), BARE)


def test_other_classes_than_the_labels_matter_to_a_task_of_labels_alone() -> None:
    foreign = dataclasses.replace(stack(), classes=99)
    with pytest.raises(DataError, match="has 99 classes"):
        find_task(foreign, Hooks(), LABELLED)
    assert find_task(foreign, Hooks(task=Unlabelled()), LABELLED) == Unlabelled()


class Maps(nn.Module):
    """A score per pixel, and another form of outputs where that is asked for."""

    def __init__(self, form: Callable[[Tensor], Any] = lambda features: features) -> None:
        super().__init__()
        self.form = form

    def forward(self, images: Tensor) -> Any:
        return self.form(images[:, :2] * 1.0)


def maps(form: Callable[[Tensor], Any] = lambda features: features) -> Network:
    return Network("tests:maps", Maps(form), (LABELLED.image_shape,))


def test_outputs_that_the_task_cannot_judge_are_refused_by_their_shapes() -> None:
    with pytest.raises(ConfigError, match=r"scores \(2, \d+\) first for 2 images of stripes, .* \(2, 2, \d+, \d+\)"):
        check_outputs(maps(), Hooks(), LABELLED)
    check_outputs(maps(), Hooks(task=Unlabelled()), LABELLED)
    check_outputs(stack(), Hooks(), LABELLED)


def test_the_callers_own_loss_and_metric_take_any_outputs() -> None:
    def own(outputs: Any, target: Any) -> Tensor:
        del target
        return outputs.mean((1, 2, 3))

    check_outputs(maps(), Hooks(loss=own, metric=own), LABELLED)
    with pytest.raises(ConfigError, match="scores"):
        check_outputs(maps(), Hooks(metric=own), LABELLED)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (lambda features: features.mean((2, 3)).sum(1, keepdim=True).T, r"float32 \(1, 2\)"),
        (lambda features: features.argmax(1), "torch.int64"),
        (lambda features: None, "no tensor"),
    ],
)
def test_without_labels_outputs_must_lie_along_the_images(form: Callable[[Tensor], Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_outputs(maps(form), Hooks(), BARE)


def test_how_outputs_are_judged_is_said_output_by_output() -> None:
    both = maps(lambda features: {"maps": features, "numbers": features[:, 0].mean(2)})
    told = describe_judgement(dataclasses.replace(both, classes=2), Hooks(), BARE)
    assert told.startswith(
        "output 1 (2, 8, 8): the share of positions with the same best of 2 classes; output 2 (8,): 1 -"
    )
    assert told.endswith("the mean of all")
    assert "no class scores" in describe_judgement(maps(), Hooks(), BARE)
    assert describe_judgement(stack(), Hooks(), LABELLED) == ""
    assert describe_judgement(maps(), Hooks(metric=lambda outputs, target: target), BARE) == ""


def test_a_network_of_one_image_at_a_time_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not take 2 images at once"):
        check_outputs(maps(lambda features: features.reshape(1, 2, *LABELLED.image_shape[1:])), Hooks(), BARE)


def test_without_labels_the_target_is_what_the_dense_network_returns() -> None:
    images, dense = torch.randn(4, 3, 8, 8), stack()
    assert add_target(Batch(images, "labels"), None).target == "labels"
    assert torch.equal(add_target(Batch(images, None), dense).target, dense.module(images))
    assert find_dense_network(Classification(), Hooks(teacher=dense)) is None
    with pytest.raises(ConfigError, match="held against the dense network"):
        find_dense_network(Unlabelled(), Hooks())
