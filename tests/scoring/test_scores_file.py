"""Scores on disk come back as they were, and never for another network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from studies import stack

from deploy_prune.errors import RecordError
from deploy_prune.graph import trace
from deploy_prune.scoring.scores_file import SCORES, read_scores, save_scores
from deploy_prune.values import Scores

GRAPH = trace(stack())
FOUND = Scores({group.name: np.linspace(-1, 1, group.width) for group in GRAPH.free}, {"a.weight": torch.ones(2, 3)})


def test_scores_and_weights_come_back(tmp_path: Path) -> None:
    save_scores(FOUND, tmp_path / SCORES)
    for place in (tmp_path, tmp_path / SCORES):
        found = read_scores(place, GRAPH)
        assert all(np.array_equal(found.by_group[name], values) for name, values in FOUND.by_group.items())
        assert found.weights
        assert torch.equal(found.weights["a.weight"], torch.ones(2, 3))


def test_scores_without_weights_have_none(tmp_path: Path) -> None:
    save_scores(Scores(FOUND.by_group), tmp_path / SCORES)
    assert read_scores(tmp_path, GRAPH).weights is None


def test_scores_of_another_network_are_refused(tmp_path: Path) -> None:
    save_scores(Scores({GRAPH.free[0].name: np.ones(5)}), tmp_path / SCORES)
    with pytest.raises(RecordError, match="of 5 units, which this network does not have"):
        read_scores(tmp_path, GRAPH)


def test_scores_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    save_scores(Scores({GRAPH.free[0].name: np.full(GRAPH.free[0].width, np.nan)}), tmp_path / SCORES)
    with pytest.raises(RecordError):
        read_scores(tmp_path, GRAPH)


def test_damaged_and_missing_scores_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="holds no scores"):
        read_scores(tmp_path, GRAPH)
    save_scores(FOUND, tmp_path / SCORES)
    (tmp_path / SCORES).write_bytes((tmp_path / SCORES).read_bytes()[:40])
    with pytest.raises(RecordError, match="is damaged"):
        read_scores(tmp_path, GRAPH)
