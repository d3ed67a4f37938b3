"""A search over OBS begins at its plan under any cost, reads no label, and leaves out no group."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from latencies import made_up
from studies import noise, stack, study, with_folder

from deploy_prune import plugins
from deploy_prune.budget.allocate import allocate
from deploy_prune.budget.latency.model import LatencyCost, fit_model
from deploy_prune.budget.widths import Limits, dense_widths
from deploy_prune.graph import trace
from deploy_prune.scoring.evolution.ageing import Breeding, Evolution, Genome
from deploy_prune.scoring.evolution.obs_ranking import CURVES, rank_by_obs
from deploy_prune.scoring.methods.obs import Obs
from deploy_prune.scoring.scores_file import save_scores
from deploy_prune.sources.images import ArrayImages
from deploy_prune.values import Scores


@pytest.mark.parametrize("cost_name", ["macs", "latency"])
def test_the_genome_that_changes_nothing_has_the_widths_of_obs_also_on_stairs(cost_name: str) -> None:
    of, graph = study(stack()), trace(stack())
    stairs = LatencyCost.of(fit_model(made_up(graph, noise=0.0)), graph)
    cost = stairs if cost_name == "latency" else plugins.build("costs", "macs").model(graph)
    ranking, scores = rank_by_obs(of), Obs().score(of)
    same = ranking.scores(Genome(np.ones(3), np.zeros(3)))
    for share in (0.8, 0.65, 0.5, 0.4):
        limit = share * float(cost(dense_widths(graph.free)))
        assert allocate(graph, same, cost, limit, Limits()) == allocate(graph, scores, cost, limit, Limits())


def test_random_genomes_weigh_groups_and_shift_nothing() -> None:
    ranking = rank_by_obs(study(stack()))
    evolution = Evolution(Breeding(), ranking.deviation, 0, ranking.centre)
    genomes = [evolution.propose(number).genome for number in range(5)]
    assert not any(genome.shift.any() for genome in genomes)
    for genome in genomes:
        for name, values in ranking.scores(genome).by_group.items():
            assert (values >= 0).all()
            assert np.argsort(values).tolist() == np.argsort(ranking.sizes[name]).tolist()


def test_no_label_is_read() -> None:
    network = stack()
    data = noise(network)
    assert isinstance(data.train, ArrayImages)
    unlabelled = dataclasses.replace(data, train=ArrayImages(data.train.pixels))
    one, other = (rank_by_obs(study(network, images)).sizes for images in (data, unlabelled))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_group_without_a_curve_is_the_last_to_be_cut(tmp_path: Path) -> None:
    of = with_folder(study(stack()), tmp_path)
    first, second, third = (group.name for group in of.graph.free)
    drawn = np.random.default_rng(0)
    save_scores(Scores({first: drawn.random(12), second: drawn.random(16)}, additive=True), tmp_path / CURVES)
    ranking = rank_by_obs(of)
    assert list(ranking.sizes) == [first, second, third]
    assert of.plan
    assert len(of.plan(ranking.scores(Genome(np.ones(3), np.zeros(3))))[third]) == 20
