"""Ranks by OBS and the curves that a search begins at: its widths come out again, no label is read, nothing is lost."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from studies import noise, stack, study, with_folder

from deploy_prune.scoring.evolution.obs_ranking import CURVES, rank_by_obs
from deploy_prune.scoring.scores_file import save_scores
from deploy_prune.sources.images import ArrayImages
from deploy_prune.values import Scores


@pytest.mark.parametrize("budget", [0.75, 0.5, 0.3])
def test_the_candidate_cut_at_the_widths_of_obs_has_them_and_its_units_within_a_step(budget: float) -> None:
    of = study(stack(), budget=budget)
    by_obs = rank_by_obs(of)
    assert of.plan
    asked = of.plan(by_obs.curves)
    genome = by_obs.ranking.cut_at([len(asked[name]) for name in by_obs.ranking.sizes])
    got = of.plan(by_obs.ranking.scores(genome))
    assert sum(len(set(asked[name]) ^ set(got[name])) for name in asked) <= 1


def test_no_label_is_read() -> None:
    network = stack()
    data = noise(network)
    assert isinstance(data.train, ArrayImages)
    unlabelled = dataclasses.replace(data, train=ArrayImages(data.train.pixels))
    one, other = (rank_by_obs(study(network, images)).curves.by_group for images in (data, unlabelled))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_group_without_a_curve_is_ranked_by_norms_and_the_last_to_be_cut(tmp_path: Path) -> None:
    of = with_folder(study(stack()), tmp_path)
    first, second, third = (group.name for group in of.graph.free)
    drawn = np.random.default_rng(0)
    losses = {first: drawn.random(12), second: drawn.random(16)}
    save_scores(Scores(losses, additive=True), tmp_path / CURVES)
    by_obs = rank_by_obs(of)
    assert list(by_obs.ranking.sizes) == [first, second, third]
    assert by_obs.ranking.sizes[first].argsort().tolist() == losses[first].argsort().tolist()
    assert len(set(by_obs.ranking.sizes[third])) == 20
    assert of.plan
    assert len(of.plan(by_obs.curves)[third]) == 20
