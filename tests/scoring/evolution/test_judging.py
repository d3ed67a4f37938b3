"""How candidates become judgeable: more steps where a cut sees nothing, or maps, which know what the network read."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from studies import stack, stripes, study, trained

from deploy_prune.scoring.evolution.judging import BLIND_STEPS, STEPS, Judging, choose_steps
from deploy_prune.scoring.study import Study
from deploy_prune.train.fitness import Exam, Examiner, judge_candidate, prepare_examiner
from deploy_prune.values import Keep


@pytest.fixture(scope="module")
def of() -> Study:
    return study(trained(stack(), stripes()), stripes())


@pytest.fixture(scope="module")
def prepared(of: Study) -> Examiner:
    assert of.data is not None
    return prepare_examiner(of.network, of.graph, of.data, Exam(images=200, norm_images=100), seed=0)


def halves(of: Study) -> Keep:
    return {group.name: tuple(range(0, group.width, 2)) for group in of.graph.free}


def test_few_steps_are_enough_where_a_cut_still_sees(of: Study, prepared: Examiner) -> None:
    assert choose_steps(prepared, halves(of)) == STEPS


def test_more_are_needed_near_chance(of: Study, prepared: Examiner, caplog: pytest.LogCaptureFixture) -> None:
    """Near chance the loss tells how sure a network is, not how good."""
    sight = 2.0  # of the dense network's accuracy: no cut has that
    assert choose_steps(prepared, halves(of), sight=sight) == BLIND_STEPS
    assert f"every candidate is trained for {BLIND_STEPS} steps" in caplog.text


def test_mapped_candidates_lose_less_refitted_finalists_least_and_the_dense_network_nothing(
    of: Study, prepared: Examiner
) -> None:
    assert of.data is not None
    judging = Judging("maps", None, finalists=True, exam=Exam(images=200, norm_images=100))
    mapped, refitted = (dataclasses.replace(each, norms_on=()) for each in judging.prepare(of, of.data, halves(of)))
    plain = dataclasses.replace(prepared, norms_on=())
    whole = {group.name: tuple(range(group.width)) for group in of.graph.free}
    assert len({judge_candidate(each, whole).loss for each in (mapped, refitted, plain)}) == 1
    losses = [judge_candidate(each, halves(of)).loss for each in (refitted, mapped, plain)]
    assert losses == sorted(losses)
    assert len(set(losses)) == 3


def test_where_nothing_can_be_mapped_candidates_are_trained_and_finalists_still_refitted() -> None:
    """A network that gives zeros reads zeros, of which nothing is to be learnt."""
    network = stack()
    with torch.no_grad():
        for weight in network.module.parameters():
            weight.zero_()
    empty = study(network, stripes())
    assert empty.data is not None
    judging = Judging("maps", None, finalists=True, exam=Exam(images=20, norm_images=20))
    first, finals = judging.prepare(empty, empty.data, halves(empty))
    assert (first.maps, first.steps, first.refit_on) == ((), STEPS, None)
    assert finals.refit_on is not None
    assert first.tuned_on
