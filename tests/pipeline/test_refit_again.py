"""What was cut before is refitted against the dense network it came from, by a run or by weights that are named."""

from __future__ import annotations

import shutil

import pytest
import torch
from tinyrun import config, written

from deploy_prune import __main__
from deploy_prune.errors import ConfigError
from deploy_prune.pipeline.refit_again import RECORD, RefitAgain, open_cut, read_images, refit_again
from deploy_prune.pipeline.run import prune
from deploy_prune.records import read_record
from deploy_prune.sources import checkpoint
from deploy_prune.values import quiet

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that cut without a refit."""
    folder = written(tmp_path_factory.mktemp("again"))
    prune(config(folder, refit=False, recalibrate_images=0, finetune=None), folder / "run", progress=quiet)
    return folder / "run"


def test_a_run_is_refitted_with_its_own_images_and_dense_network(run, tmp_path):
    cut = open_cut(run, None)
    told = refit_again(run, cut, read_images(run, cut, None), tmp_path / "out")
    assert told.refit.kept > 0
    assert told.refit.errors[told.refit.chosen] < told.refit.errors["cut"]
    assert told.before is not None
    assert told.refit.val is not None
    network = checkpoint.load(tmp_path / "out")
    assert {name: len(axes) for name, axes in network.kept.items()} == {
        name: len(axes) for name, axes in cut.small.kept.items()
    }
    assert not torch.equal(network.module.head.weight, cut.small.module.head.weight)
    assert read_record(tmp_path / "out" / RECORD, RefitAgain) == told


def test_a_folder_takes_the_weights_that_are_named(run, tmp_path):
    alone = tmp_path / "alone"
    shutil.copytree(checkpoint.final_network(run), alone)
    with pytest.raises(ConfigError, match="does not hold the dense network") as refused:
        open_cut(alone, None)
    assert "--dense" in refused.value.hint
    cut = open_cut(alone, run / "dense" / "weights.safetensors")
    with pytest.raises(ConfigError, match="is no run, which would know its images"):
        read_images(alone, cut, None)
    of_the_run = refit_again(run, open_cut(run, None), read_images(run, cut, None), tmp_path / "one")
    named = refit_again(alone, cut, read_images(run, cut, None), tmp_path / "two")
    assert named.refit.errors == of_the_run.refit.errors


def test_a_dense_network_has_nothing_to_refit(run):
    with pytest.raises(ConfigError, match="nothing was cut from"):
        open_cut(run / "dense", None)


def test_the_command_says_what_it_wrote(run, tmp_path, capsys):
    assert __main__.run(["refit", str(run), "--out", str(tmp_path / "out"), "--trust-code"]) == 0
    shown = capsys.readouterr().out
    assert "layers have new weights" in shown
    assert "on validation" in shown
