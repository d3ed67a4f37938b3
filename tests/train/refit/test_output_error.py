"""How far outputs are from the reference's: class scores at their best scale, all others as they are."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from building import conv, head, net

from deploy_prune.train.refit.output_error import OutputError, measure_output_errors


def scorer():
    return net(lambda m, x: m.head(m.a(x).relu()), a=conv(3, 6), head=head(6))


def changed(network, change):
    module = net(lambda m, x: change(m.inner(x)), inner=network.module).module
    return dataclasses.replace(network, module=module)


def measure(small, reference, images):
    return measure_output_errors({"it": small}, reference, images)["it"]


@pytest.fixture(scope="module")
def images():
    return torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def test_the_same_network_has_no_error(images):
    assert measure(scorer(), scorer(), images) == pytest.approx(0, abs=1e-10)


def test_the_same_scores_have_no_error_whatever_rounding_leaves():
    for seed in range(20):
        error, scores = OutputError(5), torch.randn(48, 5, generator=torch.Generator().manual_seed(seed))
        error.add(scores, scores)
        assert error.value == 0


def test_smaller_class_scores_are_no_worse_and_noise_is(images):
    reference = scorer()
    mean = reference.module(images).mean(0).detach()
    smaller = changed(reference, lambda scores: mean + 0.5 * (scores - mean))
    noisy = changed(reference, lambda scores: scores + 0.5 * scores.std() * torch.randn_like(scores))
    assert measure(smaller, reference, images) == pytest.approx(0, abs=1e-6)
    assert measure(noisy, reference, images) > 0.05


def test_what_is_no_class_score_counts_as_it_is(images):
    reference = dataclasses.replace(scorer(), classes=None)
    mean = reference.module(images).mean(0).detach()
    smaller = changed(reference, lambda scores: mean + 0.5 * (scores - mean))
    assert measure(smaller, reference, images) == pytest.approx(0.25, rel=1e-4)


def test_it_is_the_same_however_images_come_and_is_what_the_formula_says():
    """|s g - w|^2 / |w|^2, centred by the mean of w over images, worked out at once in float64."""
    draw = torch.Generator().manual_seed(1)
    given, wanted = (torch.randn(9, 5, 3, 2, generator=draw) + 4 for _ in range(2))
    mean = wanted.double().mean(0)
    ours, theirs = given.double() - mean, wanted.double() - mean
    for classes, scale in ((None, 1.0), (5, float((ours * theirs).sum() / ours.square().sum()))):
        error = OutputError(classes)
        for part in (slice(1), slice(1, 6), slice(6, 9)):
            error.add({"map": given[part], "count": torch.ones(1)}, {"map": wanted[part], "count": torch.ones(1)})
        expected = float((scale * ours - theirs).square().sum() / theirs.square().sum())
        assert error.value == pytest.approx(expected / 2, rel=1e-9), "of two outputs the second has no error"


def test_one_image_and_constant_outputs_have_an_error_all_the_same():
    """One image's outputs have no variance: (0, 1) off (3, 4) is 1 of 25; constant outputs of two images likewise."""
    alone = OutputError(None)
    alone.add(torch.tensor([[[3.0, 5.0]]]), torch.tensor([[[3.0, 4.0]]]))
    assert alone.value == pytest.approx(0.04)
    constant = OutputError(None)
    constant.add(torch.full((2, 1, 2), 0.1), torch.full((2, 1, 2), 0.1))
    assert constant.value == 0


def test_outputs_that_are_not_finite_are_infinitely_far(images):
    reference = scorer()
    assert measure(changed(reference, lambda s: s / 0), reference, images) == float("inf")
    assert measure(changed(reference, lambda s: s * float("nan")), reference, images) == float("inf")
