"""A network that classifies says so in its first output, or is refused with what to do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from deploy_prune import plugins
from deploy_prune.errors import ConfigError
from deploy_prune.train.tasks import TASKS

TASK = plugins.build(TASKS, "classification")
SCORES, LABELS = torch.tensor([[1.0, 2.0, 0.0], [3.0, 0.0, 1.0]]), torch.tensor([1, 2])


def test_the_class_scores_are_the_first_of_several_outputs() -> None:
    boxes = torch.zeros(2, 4)
    for outputs in (SCORES, (SCORES, boxes), {"scores": SCORES, "boxes": boxes}):
        assert TASK.numbers(outputs, LABELS).tolist() == [True, False]
        assert torch.equal(TASK.loss(outputs, LABELS), functional.cross_entropy(SCORES, LABELS))


@pytest.mark.parametrize("outputs", [torch.zeros(2, 3, 4, 4), torch.zeros(2, 1), (), None])
def test_a_network_without_class_scores_is_refused_with_a_way_out(outputs: object) -> None:
    with pytest.raises(ConfigError, match="returns scores") as caught:
        TASK.numbers(outputs, LABELS)
    assert "hooks" in caught.value.hint


def test_another_best_class_is_a_tie_where_the_network_hardly_tells_them_apart() -> None:
    ours = np.array([[2.0, 2.0 - 1e-4, 0.0], [2.0, 1.0, 0.0], [2.0, 1.0, 0.0]])
    theirs = np.array([[1.9, 2.0, 0.0], [1.0, 2.0, 0.0], [2.0, 1.0, 0.0]])
    answers = TASK.answers((theirs,), (ours,), 1e-3)
    assert answers is not None
    assert (answers.same.tolist(), answers.ties.tolist()) == ([True, False, True], [True, False, False])
    assert TASK.answers((theirs[:, None],), (ours[:, None],), 1e-3) is None
