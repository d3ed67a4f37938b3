"""How far two networks' outputs are apart, worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from deploy_prune.train.distillation import distance, relative_errors
from deploy_prune.train.schedule import half_cosine

DENSE, OUTPUTS = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[3.0, 5.0]]])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_distance_of_what_is_no_class_scores_has_no_unit(scale: float) -> None:
    """An error of a fifth is 0.04, whatever the output is counted in; no answer is a distance of 1."""
    assert float(distance(scale * OUTPUTS, scale * DENSE, 4.0)) == pytest.approx(0.04)
    assert float(distance(0 * DENSE, scale * DENSE, 4.0)) == pytest.approx(1.0)
    assert relative_errors(scale * OUTPUTS, scale * DENSE).tolist() == pytest.approx([0.2])


def test_an_image_with_hardly_an_answer_pulls_no_more_than_another() -> None:
    """Both images are as far off; the dense answer to the second one is a millionth of that to the first."""
    answers = torch.stack([DENSE[0], 1e-6 * DENSE[0]])
    outputs = (answers + torch.tensor([0.0, 0.5])).requires_grad_()
    distance(outputs, answers, 1.0).backward()
    assert outputs.grad is not None
    first, second = torch.linalg.vector_norm(outputs.grad.flatten(1), dim=1).tolist()
    assert first > 0
    assert second == pytest.approx(first, rel=1e-3)


def test_from_the_size_of_an_answer_on_it_grows_as_the_error_does() -> None:
    """Errors of 0.5, 1, 3 and 5 times the answer."""
    errors = [float(distance((1 + times) * DENSE, DENSE, 1.0)) for times in (0.5, 1, 3, 5)]
    assert errors == pytest.approx([0.25, 1, 5, 9])


def test_an_output_that_is_zero_throughout_is_no_measure() -> None:
    assert float(distance(DENSE, 0 * DENSE, 1.0)) == pytest.approx(9.0)
    outputs = (0 * DENSE).requires_grad_()
    distance(outputs, 0 * DENSE, 1.0).backward()
    assert outputs.grad is not None
    assert outputs.grad.abs().max() == 0


def test_steps_that_are_too_long_for_a_square_do_not_end_in_infinity() -> None:
    """A map of 24 features that are all about 1, at the recipe's own rate: its square is too steep by far."""
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(16, 24, 1, 1, generator=generator) + 0.5
    dense, ours = (torch.randn(1, 24, 1, 1, generator=generator) / 10 for _ in range(2))
    answers = functional.conv2d(features, dense)
    optimizer = torch.optim.SGD([ours.requires_grad_()], lr=0.05, momentum=0.9, nesterov=True)
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 0.05 * half_cosine(step, 200)
        optimizer.zero_grad()
        distance(functional.conv2d(features, ours), answers, 1.0).backward()
        optimizer.step()
    assert float(distance(functional.conv2d(features, ours), answers, 1.0).detach()) < 0.5


def test_of_several_outputs_it_is_the_sum() -> None:
    assert float(distance((OUTPUTS, DENSE, OUTPUTS), (DENSE, DENSE, DENSE), 1.0)) == pytest.approx(0.08)
