"""The examples run as they stand, from an empty folder, on embedded data."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from as_user import run_as_user

from deploy_prune import ArrayImages, Data, Network, Recipe

EXAMPLES = Path(__file__).parents[1] / "examples"
HOOKS = runpy.run_path(str(EXAMPLES / "hooks.py"))


def test_the_loss_counts_what_is_easy_less() -> None:
    labels = torch.tensor([0])
    sure, unsure = torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    half = -torch.log(torch.tensor(0.5))
    assert torch.isclose(HOOKS["focal_loss"](unsure, labels), 0.25 * half)
    assert HOOKS["focal_loss"](sure, labels) < 1e-4


def test_the_metric_counts_the_two_best() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    assert HOOKS["top2"](logits, torch.tensor([1, 2])).tolist() == [1, 0]


def test_the_own_loop_changes_the_network_it_was_given_a_copy_of() -> None:
    images = ArrayImages(np.zeros((8, 4, 4, 3), np.uint8), np.zeros(8, np.int64))
    data = Data(
        "none", ("a", "b"), (0.5,) * 3, (0.5,) * 3, (3, 4, 4), images, images, images, flip=False, crop_padding=0
    )
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2))
    before = module[1].bias.detach().clone()
    trained = HOOKS["own_loop"](Network("toy", module, ((3, 4, 4),), 2), data, Recipe(epochs=1, batch_size=4))
    assert not torch.equal(trained[1].bias, before)


@pytest.mark.heavy
@pytest.mark.parametrize("script", ["walkthrough.py", "timm_network.py"])
def test_a_script_runs(script: str, tmp_path: Path) -> None:
    done = run_as_user(tmp_path, str(EXAMPLES / script))
    assert done.returncode == 0, done.stderr
    assert "of the multiply-adds stay" in done.stdout


@pytest.mark.heavy
def test_the_configuration_runs_with_hooks_of_its_folder(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "hooks.py", tmp_path)
    text = (EXAMPLES / "run.toml").read_text().replace('# loss = "hooks.py', 'loss = "hooks.py')
    (tmp_path / "run.toml").write_text(text)
    done = run_as_user(tmp_path, "-m", "deploy_prune", "prune", "--config", "run.toml", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "export-1" / "pruned.onnx").is_file()
