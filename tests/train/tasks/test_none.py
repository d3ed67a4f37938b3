"""A network without labels is held against the dense one: the numbers are worked out by hand."""

from __future__ import annotations

import pytest
import torch

from deploy_prune import plugins
from deploy_prune.train.distillation import distance
from deploy_prune.train.tasks import TASKS

TASK = plugins.build(TASKS, "none")


def test_class_scores_agree_where_the_best_class_is_the_same() -> None:
    dense = torch.tensor([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0]])
    assert TASK.numbers(torch.tensor([[5.0, 6.0], [0.0, 1.0], [0.0, 9.0]]), dense).tolist() == [1, 0, 1]


def test_any_other_output_agrees_by_its_relative_error_and_never_less_than_nothing() -> None:
    """|(3, 4)| is 5: an error of (0, 1) is a fifth; the negative has an error of 2, a zero image with itself none."""
    dense = torch.tensor([[3.0, 4.0], [3.0, 4.0], [3.0, 4.0], [0.0, 0.0]]).reshape(4, 1, 1, 2)
    outputs = torch.tensor([[3.0, 4.0], [3.0, 5.0], [-3.0, -4.0], [0.0, 0.0]]).reshape(4, 1, 1, 2)
    assert TASK.numbers(outputs, dense).tolist() == pytest.approx([1.0, 0.8, 0.0, 1.0])


def test_maps_agree_by_the_share_of_positions_where_the_network_says_how_many_classes_it_has() -> None:
    """Two classes at 1 x 4 positions, of which the last has another best class; without that they are mere numbers."""
    dense = torch.tensor([[[[1.0, 0.0, 5.0, 1.0]], [[0.0, 1.0, 0.0, 0.0]]]])
    outputs = torch.tensor([[[[9.0, 2.0, 1.0, 0.0]], [[0.0, 8.0, 0.0, 0.5]]]])
    assert plugins.build(TASKS, "none", {"classes": 2}).numbers(outputs, dense).tolist() == [0.75]
    for classes in (None, 3):
        assert plugins.build(TASKS, "none", {"classes": classes}).numbers(outputs, dense).tolist() == [0.0]


def test_whole_numbers_agree_where_they_are_equal() -> None:
    dense = torch.tensor([[[3, 1], [0, 2]]])
    assert TASK.numbers(torch.tensor([[[3, 1], [0, 9]]]), dense).tolist() == [0.75]
    assert TASK.numbers(dense > 1, dense > 2).tolist() == [0.75]


def test_of_several_outputs_it_is_the_mean_whatever_they_are_kept_in() -> None:
    dense = {"scores": torch.tensor([[1.0, 2.0]]), "box": torch.tensor([[[3.0, 4.0]]])}
    outputs = {"scores": torch.tensor([[2.0, 1.0]]), "box": torch.tensor([[[3.0, 5.0]]])}
    assert TASK.numbers(outputs, dense).tolist() == pytest.approx([0.4])


def test_the_distance_of_other_outputs_has_no_unit() -> None:
    """An error of a fifth is 0.04, whatever the output is counted in; no answer is a distance of 1."""
    dense = torch.tensor([[[3.0, 4.0]]])
    for scale in (1e-3, 1.0, 1e3):
        assert float(distance(scale * torch.tensor([[[3.0, 5.0]]]), scale * dense, 4.0)) == pytest.approx(0.04)
        assert float(TASK.loss(0 * dense, scale * dense)) == pytest.approx(1.0)
    both = distance((dense, torch.tensor([[[3.0, 5.0]]])), (dense, dense), 1.0)
    assert float(both) == pytest.approx(0.04)
