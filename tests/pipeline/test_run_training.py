"""Training within a run: whose weights, whose code, and which images."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from listening import at_begin_of
from tinyrun import QUICK, config, weights_sha256, written
from torch import Tensor, nn

from deploy_prune.pipeline.front import front
from deploy_prune.pipeline.run import prune
from deploy_prune.records import read_record
from deploy_prune.results import DenseResult, RunSummary
from deploy_prune.sources import checkpoint
from deploy_prune.train.recipe import Batch, Hooks, Recipe
from deploy_prune.values import Data, Network


@pytest.mark.heavy
def test_without_finetuning_the_cut_network_is_shipped(sources: Path, tmp_path: Path) -> None:
    summary = prune(config(sources, pretrain=None, finetune=None), tmp_path / "run")
    assert (summary.trained.epochs, summary.trained.val) == (0, summary.cut.val_recalibrated)
    run = tmp_path / "run"
    assert (run / "round-1/weights.safetensors").read_bytes() == (run / "cut/weights.safetensors").read_bytes()


def test_weights_that_nobody_trained_are_named_as_such(
    sources: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        prune(config(sources, pretrain=None, finetune=None), tmp_path / "run")
    assert "neither weights nor [pretrain] are given" in caplog.text
    report = (tmp_path / "run/report.md").read_text()
    assert "the model source's own" in report
    assert "**Neither weights nor [pretrain] were given" in report


def test_a_run_that_trains_or_is_given_weights_says_nothing_of_the_kind(bare: tuple[Path, RunSummary]) -> None:
    run, summary = bare
    assert summary.dense.caution == ""
    assert "Neither weights" not in (run / "report.md").read_text()


def test_a_front_remembers_that_nobody_trained_its_dense_network(sources: Path, tmp_path: Path) -> None:
    """Its runs begin from the front's own dense network, a run folder."""
    front(config(sources, pretrain=None, finetune=None), ("0.5x",), tmp_path / "front", controls=False)
    for record in (tmp_path / "front/dense.json", tmp_path / "front/0.5x/dense.json"):
        assert read_record(record, DenseResult).weights_as_built


def test_distillation_learns_from_the_dense_network(
    sources: Path, bare: tuple[Path, RunSummary], tmp_path: Path
) -> None:
    prune(config(sources, finetune={**QUICK, "distill": 0.9}), tmp_path / "run")
    assert weights_sha256(tmp_path / "run") != weights_sha256(bare[0])


def test_the_test_split_is_not_read_before_its_stage(tmp_path: Path) -> None:
    """Its pixels raise until the test stage begins and lifts the guard; a run that touches them earlier fails."""
    own = written(tmp_path)
    lift = at_begin_of("test-1", (own / "test-may-be-read").touch)
    summary = prune(config(own, data=f"{own}/data.py:guarded"), tmp_path / "run", progress=lift)
    assert summary.test.pruned.items == 40


HOOKS = """
from pathlib import Path
import torch
from torch.nn import functional

def called(name):
    with (Path(__file__).parent / "called").open("a") as file:
        file.write(name + " ")

def loss(logits, labels):
    called("loss")
    return functional.cross_entropy(logits, labels)

def metric(logits, labels):
    called("metric")
    return (logits.topk(2, dim=1).indices == labels[:, None]).any(dim=1)

def step(module, batch, loss):
    called("step")
    return loss(module(batch.images), batch.target)

def fit(network, data, recipe):
    called("fit")
    return network.module
"""


@pytest.mark.parametrize("name", ["loss", "metric", "step", "fit"])
def test_a_hook_of_the_configuration_is_called(sources: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "hooks.py").write_text(HOOKS)
    asked = config(sources, pretrain=None, hooks={name: f"{tmp_path}/hooks.py:{name}"})
    prune(asked, tmp_path / "run")
    assert set((tmp_path / "called").read_text().split()) == {name}


def test_hooks_of_the_caller_decide(sources: Path, tmp_path: Path) -> None:
    """Loss, metric and step are the caller's: the metric is reported, and says so by its value."""
    called: set[str] = set()

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        called.add("loss")
        return nn.functional.cross_entropy(logits, labels)

    def step(module: nn.Module, batch: Batch, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        called.add("step")
        return loss(module(batch.images), batch.target)

    def metric(logits: Tensor, labels: Tensor) -> Tensor:
        return torch.full(labels.shape, 0.25)

    hooks = Hooks(loss=loss, metric=metric, step=step)
    summary = prune(config(sources, pretrain=None), tmp_path / "run", hooks=hooks)
    assert called == {"loss", "step"}
    assert (summary.test.dense.value, summary.test.pruned.value, summary.test.difference) == (0.25, 0.25, 0)


def test_a_fit_of_the_caller_gets_the_small_network_and_its_weights_are_kept(sources: Path, tmp_path: Path) -> None:
    def fit(network: Network, data: Data, recipe: Recipe) -> nn.Module:
        assert len(data.train) == 120
        nn.init.constant_(network.module.head.bias, 7.0)
        return network.module

    prune(config(sources, pretrain=None), tmp_path / "run", hooks=Hooks(fit=fit))
    assert checkpoint.load(tmp_path / "run").module.head.bias.tolist() == [7, 7, 7, 7]
