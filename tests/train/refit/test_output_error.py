"""How far outputs are from the reference's: class scores at their best scale, all others as they are."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from building import conv, head, net

from deploy_prune.train.refit.output_error import measure_output_error


def scorer():
    return net(lambda m, x: m.head(m.a(x).relu()), a=conv(3, 6), head=head(6))


def changed(network, change):
    module = net(lambda m, x: change(m.inner(x)), inner=network.module).module
    return dataclasses.replace(network, module=module)


@pytest.fixture(scope="module")
def images():
    return torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def test_the_same_network_has_no_error(images):
    assert measure_output_error(scorer(), scorer(), images) == pytest.approx(0, abs=1e-10)


def test_smaller_class_scores_are_no_worse_and_noise_is(images):
    reference = scorer()
    mean = reference.module(images).mean(0).detach()
    smaller = changed(reference, lambda scores: mean + 0.5 * (scores - mean))
    noisy = changed(reference, lambda scores: scores + 0.5 * scores.std() * torch.randn_like(scores))
    assert measure_output_error(smaller, reference, images) == pytest.approx(0, abs=1e-6)
    assert measure_output_error(noisy, reference, images) > 0.05


def test_what_is_no_class_score_counts_as_it_is(images):
    reference = dataclasses.replace(scorer(), classes=None)
    mean = reference.module(images).mean(0).detach()
    smaller = changed(reference, lambda scores: mean + 0.5 * (scores - mean))
    assert measure_output_error(smaller, reference, images) == pytest.approx(0.25, rel=1e-4)


def test_outputs_that_are_not_finite_are_infinitely_far(images):
    reference = scorer()
    assert measure_output_error(changed(reference, lambda s: s / 0), reference, images) == float("inf")
    assert measure_output_error(changed(reference, lambda s: s * float("nan")), reference, images) == float("inf")
