"""A method that scores, made a selector: its best units stay at another's widths, and it scores once."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from studies import stack, study, with_folder

from deploy_prune.errors import RecordError
from deploy_prune.graph.filter_norms import filter_norms
from deploy_prune.scoring.best_scored import SELECTING, BestScored
from deploy_prune.scoring.scores_file import save_scores
from deploy_prune.scoring.study import Study
from deploy_prune.values import Scores


@dataclass(frozen=True, eq=False)
class Late:
    """Scores units the higher, the later they are; the last group gets none."""

    needs_labels: ClassVar[bool] = False
    asked: list[str] = field(default_factory=list)

    def score(self, study: Study) -> Scores:
        self.asked.append(study.network.address)
        return Scores({group.name: np.arange(group.width) for group in study.graph.free[:-1]})


def test_the_best_scored_units_stay_and_norms_decide_where_there_are_no_scores(
    caplog: pytest.LogCaptureFixture,
) -> None:
    of = study(stack())
    first, second, third = (group.name for group in of.graph.free)
    with caplog.at_level(logging.WARNING):
        kept = BestScored(Late()).select(of, {first: 2, second: 16, third: 5}).keep
    assert kept[first] == (10, 11) and kept[second] == tuple(range(16))
    largest = np.argsort(-filter_norms(of.network.module, of.graph, power=2)[third], kind="stable")[:5]
    assert kept[third] == tuple(sorted(largest.tolist()))
    assert f"by their filters' norms: {third}" in caplog.text


def test_it_scores_once_in_a_folder(tmp_path: Path) -> None:
    of, scorer = with_folder(study(stack()), tmp_path), Late()
    one, other = (BestScored(scorer).select(of, {of.graph.free[0].name: 3}).keep for _ in range(2))
    assert one == other
    assert len(scorer.asked) == 1
    assert (tmp_path / SELECTING).exists()


def test_scores_of_another_run_select_and_those_of_another_network_are_refused(tmp_path: Path) -> None:
    of = study(stack())
    name = of.graph.free[0].name
    save_scores(Scores({name: -np.arange(12.0)}), tmp_path / "of-another-run.safetensors")
    assert BestScored(tmp_path / "of-another-run.safetensors").select(of, {name: 3}).keep == {name: (0, 1, 2)}
    save_scores(Scores({name: np.ones(13)}), tmp_path / "of-another-network.safetensors")
    with pytest.raises(RecordError, match="which this network does not have"):
        BestScored(tmp_path / "of-another-network.safetensors").select(of, {name: 3})
