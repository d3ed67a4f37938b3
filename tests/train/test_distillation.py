"""How far two networks' outputs are apart, worked out by hand."""

from __future__ import annotations

import pytest
import torch

from deploy_prune.train.distillation import distance, relative_errors

DENSE, OUTPUTS = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[3.0, 5.0]]])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_distance_of_what_is_no_class_scores_has_no_unit(scale: float) -> None:
    """An error of a fifth is 0.04, whatever the output is counted in; no answer is a distance of 1."""
    assert float(distance(scale * OUTPUTS, scale * DENSE, 4.0)) == pytest.approx(0.04)
    assert float(distance(0 * DENSE, scale * DENSE, 4.0)) == pytest.approx(1.0)
    assert relative_errors(scale * OUTPUTS, scale * DENSE).tolist() == pytest.approx([0.2])


def test_of_several_outputs_it_is_the_sum() -> None:
    assert float(distance((OUTPUTS, DENSE, OUTPUTS), (DENSE, DENSE, DENSE), 1.0)) == pytest.approx(0.08)
