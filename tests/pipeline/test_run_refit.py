"""A run refits what it has cut, without labels, and lets go on what is nearest to the dense network."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from tinyrun import QUICK, config, written
from torch import nn

from deploy_prune.errors import ConfigError
from deploy_prune.pipeline.refit_stage import CUT, REFITTED, REFITTED_ANEW, REFITTED_ON_THE_WAY
from deploy_prune.pipeline.run import prune
from deploy_prune.results import RunSummary
from deploy_prune.sources import checkpoint
from deploy_prune.train.loop import fit
from deploy_prune.train.recipe import Hooks, Recipe
from deploy_prune.values import Data, Network, quiet

pytestmark = pytest.mark.heavy

WHILE_PRUNED = 7
"""Epochs by which a training of the pruned network is known."""


@pytest.fixture(scope="module")
def refitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunSummary]:
    folder = written(tmp_path_factory.mktemp("refit"))
    return folder, prune(config(folder, refit=True, finetune=None), folder / "run", progress=quiet)


def test_the_record_has_every_layer_and_the_images(refitted: tuple[Path, RunSummary]) -> None:
    refit = refitted[1].cut.refit
    assert refit is not None
    assert refit.images > 1
    assert len(refit.images_sha256) == 64
    assert {CUT, REFITTED, REFITTED_ON_THE_WAY, REFITTED_ANEW} == set(refit.errors)
    assert refit.kept > 0
    assert refit.chosen == min(refit.errors, key=refit.errors.__getitem__)
    assert refit.errors[refit.chosen] < refit.errors[CUT]
    assert refit.seconds > 0


def test_the_refitted_network_is_what_goes_on(refitted: tuple[Path, RunSummary]) -> None:
    folder, summary = refitted
    assert summary.cut.refit is not None
    assert summary.trained.val == summary.cut.refit.val
    before, after = (checkpoint.load(folder / "run" / name).module.state_dict() for name in ("cut", "round-1"))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_report_tells(refitted: tuple[Path, RunSummary]) -> None:
    text = (refitted[0] / "run" / "report.md").read_text()
    assert "## Refit" in text
    assert "without labels" in text
    assert f"the same, {refitted[1].cut.refit.chosen}" in text  # type: ignore[union-attr]


def test_a_training_that_ends_below_the_refit_is_not_shipped(tmp_path: Path) -> None:
    """The caller's training ruins what it is given; the refitted network goes on, and the report says so."""

    def ruin(network: Network, data: Data, recipe: Recipe) -> nn.Module:
        module = copy.deepcopy(network.module)
        if recipe.epochs == WHILE_PRUNED:
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.zero_()
            return module
        return fit(network, data, recipe).module

    longer = {"pretrain": {**QUICK, "epochs": 8}, "finetune": {**QUICK, "epochs": WHILE_PRUNED}}
    asked = config(written(tmp_path), refit=True, **longer)
    summary = prune(asked, tmp_path / "run", hooks=Hooks(fit=ruin), progress=quiet)
    refit, trained = summary.cut.refit, summary.trained
    assert refit is not None
    assert refit.val is not None
    assert trained.given_up is not None
    assert trained.given_up.value < refit.val.value
    assert trained.val == refit.val
    before, after = (checkpoint.load(tmp_path / "run" / name).module.state_dict() for name in ("cut", "round-1"))
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert "not shipped" in (tmp_path / "run" / "report.md").read_text()


def test_a_run_that_was_begun_without_is_not_continued_with_it(refitted: tuple[Path, RunSummary]) -> None:
    folder = refitted[0]
    with pytest.raises(ConfigError, match="refit was True, now False"):
        prune(config(folder, refit=False, finetune=None), folder / "run", progress=quiet)
