"""What every task promises: a number per image, a loss that training can follow, the best network judged best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from deploy_prune import plugins
from deploy_prune.errors import ConfigError
from deploy_prune.sources.data import read_data
from deploy_prune.train.tasks import TASKS, Task

NAMES = plugins.list_names("tasks")
pytestmark = pytest.mark.parametrize("task", [plugins.build(TASKS, name) for name in NAMES], ids=NAMES)


def scores(images: int = 6, classes: int = 4) -> Tensor:
    return torch.randn(images, classes, generator=torch.Generator().manual_seed(0))


def target_of(task: Task, outputs: Tensor) -> Any:
    """What these outputs hit exactly: their best classes, or themselves."""
    return outputs.argmax(dim=1) if task.needs_labels else outputs


def test_outputs_of_another_kind_are_refused_by_name(task: Task) -> None:
    data = read_data("digits")
    task.check({"scores": torch.zeros(3, 10), "more": torch.zeros(3, 4, 2, 2)}, 3, data)
    for outputs in (None, (), torch.zeros(2, 10)):
        with pytest.raises(ConfigError) as caught:
            task.check(outputs, 3, data)
        assert caught.value.hint


def test_there_is_one_number_per_image_and_none_is_higher_than_those_of_the_target_itself(task: Task) -> None:
    right = scores()
    target = target_of(task, right)
    best, worse = task.numbers(10 * right, target).double(), task.numbers(-right, target).double()
    assert best.shape == worse.shape == (6,)
    assert (best >= worse).all()
    assert best.mean() > worse.mean()


def test_the_loss_is_one_number_that_falls_along_its_gradient(task: Task) -> None:
    outputs = -scores()
    target = target_of(task, scores())
    outputs.requires_grad_()
    loss = task.loss(outputs, target, smoothing=0.1, temperature=4.0)
    assert loss.shape == ()
    loss.backward()
    assert outputs.grad is not None
    further = (outputs - 0.1 * outputs.grad).detach()
    assert task.loss(further, target, smoothing=0.1, temperature=4.0) < loss.detach()


def test_the_loss_is_a_mean_over_images(task: Task) -> None:
    outputs, target = -scores(), target_of(task, scores())
    halves = [float(task.loss(outputs[part], target[part])) for part in (slice(3), slice(3, None))]
    assert float(task.loss(outputs, target)) == pytest.approx(sum(halves) / 2, rel=1e-5)


def test_the_network_itself_gives_its_own_answers(task: Task) -> None:
    """In a file of two outputs, of which the first has class scores."""
    outputs = scores().double().numpy(), np.ones((6, 2, 3))
    answers = task.answers(outputs, outputs, 1e-4)
    assert answers is None or (answers.same.all() and not answers.ties.any())


def test_it_says_what_its_numbers_are(task: Task) -> None:
    assert task.quality
