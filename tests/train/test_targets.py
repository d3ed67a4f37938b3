"""A batch's target is its labels, or what the dense network returns."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from studies import stack, stripes

from deploy_prune.errors import ConfigError, DataError
from deploy_prune.sources.images import ArrayImages
from deploy_prune.train.recipe import Batch, Hooks
from deploy_prune.train.targets import dense_network, task_of, with_target
from deploy_prune.train.tasks.classification import Classification
from deploy_prune.train.tasks.none import Unlabelled

LABELLED = stripes(images=8)
PLAIN = ArrayImages(LABELLED.train.read(torch.arange(8).numpy()))
BARE = dataclasses.replace(LABELLED, train=PLAIN, val=PLAIN, test=PLAIN)


def test_the_data_decide_the_task_unless_it_is_named() -> None:
    assert (task_of(Hooks(), LABELLED), task_of(Hooks(), BARE)) == (Classification(), Unlabelled())
    assert task_of(Hooks(task=Unlabelled()), LABELLED) == Unlabelled()
    with pytest.raises(DataError, match="needs labels, and stripes has none"):
        task_of(Hooks(task=Classification()), BARE)


def test_without_labels_the_target_is_what_the_dense_network_returns() -> None:
    images, dense = torch.randn(4, 3, 8, 8), stack()
    assert with_target(Batch(images, "labels"), None).target == "labels"
    assert torch.equal(with_target(Batch(images, None), dense).target, dense.module(images))
    assert dense_network(Classification(), Hooks(teacher=dense)) is None
    with pytest.raises(ConfigError, match="held against the dense network"):
        dense_network(Unlabelled(), Hooks())
