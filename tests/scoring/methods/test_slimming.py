"""Network Slimming: the penalty's gradient, lambda from the travel, which norms count, and the threshold."""

from __future__ import annotations

import dataclasses
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from listening import interrupt_after
from studies import block, noise, stack, stripes, study, trained
from torch import nn

from deploy_prune import plugins
from deploy_prune.errors import ConfigError
from deploy_prune.records import read_record
from deploy_prune.scoring.methods.slimming import LOG, Sparsity
from deploy_prune.scoring.study import Study
from deploy_prune.sources.networks import build_network
from deploy_prune.train.recipe import Hooks
from deploy_prune.values import Network, Scores

SETTINGS: dict[str, Any] = {"epochs": 2, "batch_size": 32, "lr": 0.05, "precision": "fp32"}


def score(of: Study, **options: Any) -> Scores:
    found: Scores = plugins.build("methods", "slimming", {**SETTINGS, **options}).score(of)
    return found


def sparsity(folder: Path) -> Sparsity:
    return read_record(folder / LOG, Sparsity)


class Residual(nn.Module):
    """A stream of two producers; a non-linearity follows the second's norm, or (as in a linear bottleneck) not."""

    def __init__(self, last: nn.Module) -> None:
        super().__init__()
        self.stem, self.up = block(3, 8), block(8, 12)
        self.down = nn.Sequential(nn.Conv2d(12, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))
        self.last, self.next = last, block(8, 10)
        self.head = nn.Linear(10, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = self.next(self.last(x + self.down(self.up(x))))
        return self.head(x.mean((2, 3)))


def residual(*, linear: bool = False) -> Network:
    torch.manual_seed(0)
    module = Residual(nn.Identity() if linear else nn.ReLU())
    if linear:
        module.stem[2] = nn.Identity()  # type: ignore[assignment]
    return Network("tests:residual", module.eval(), ((3, 8, 8),), 4)


def test_the_penalty_pushes_every_selected_gamma_by_lambda() -> None:
    """One step of plain SGD from one image batch, with and without: they differ by lr x lambda x sign(gamma)."""
    settings = {"epochs": 1, "batch_size": 192, "momentum": 0.0, "weight_decay": 0.0, "lr": 0.1}
    network = stack()
    with torch.no_grad():
        network.module[0][1].weight[:3] = torch.tensor([-0.5, 0.0, 0.25])
    without, pushed = (score(study(network, stripes()), penalty=penalty, **settings).weights for penalty in (0.0, 0.01))
    assert without
    assert pushed
    for name in ("0.1.weight", "1.1.weight", "2.1.weight"):
        signs = torch.sign(network.module.get_parameter(name).detach())
        assert torch.allclose(without[name] - pushed[name], 0.1 * 0.01 * signs, atol=1e-7)
    for name in ("0.0.weight", "5.weight", "0.1.bias"):
        assert torch.equal(without[name], pushed[name])


def test_lambda_follows_from_the_travel(tmp_path: Path) -> None:
    """D = lambda / (1 - m) x sum of learning rates = travel x median |gamma|."""
    score(study(stack(), stripes(), folder=tmp_path), travel=2.0)
    found = sparsity(tmp_path)
    steps = 2 * 6
    rates = sum(0.05 * 0.5 * (1 + math.cos(math.pi * step / steps)) for step in range(steps))
    assert found.travel == pytest.approx(2.0 * 1.0)  # a fresh norm's gamma is 1
    assert found.penalty == pytest.approx(2.0 * (1 - 0.9) / rates)


def test_a_penalty_that_is_given_is_taken(tmp_path: Path) -> None:
    score(study(stack(), stripes(), folder=tmp_path), penalty=3e-3)
    assert sparsity(tmp_path).penalty == 3e-3


def test_the_users_own_loss_and_step_are_trained_with() -> None:
    """And the penalty still comes on top."""
    called = []

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        called.append("loss")
        return nn.functional.cross_entropy(logits, labels)

    def step(module: nn.Module, batch: Any, loss: Any) -> torch.Tensor:
        called.append("step")
        found: torch.Tensor = loss(module(batch.images), batch.target)
        return found

    plain = study(stack(), stripes())
    own = dataclasses.replace(plain, hooks=Hooks(loss=loss, step=step))
    one, other = score(plain), score(own)
    assert called[:2] == ["step", "loss"]
    assert all(np.array_equal(one.by_group[name], other.by_group[name]) for name in one.by_group)


def test_more_travel_leaves_smaller_gammas(tmp_path: Path) -> None:
    medians = []
    for travel in (0.0, 1.0, 2.0):
        score(study(stack(), stripes(), folder=tmp_path / str(travel)), travel=travel)
        medians.append(sparsity(tmp_path / str(travel)).quantiles[-1].q50)
    assert medians[0] > medians[1] > medians[2]


def test_gammas_are_logged_epoch_by_epoch(tmp_path: Path) -> None:
    score(study(stack(), stripes(), folder=tmp_path))
    found = sparsity(tmp_path).quantiles
    assert [each.epoch for each in found] == [0, 1, 2]
    assert (found[0].q10, found[0].q50, found[0].q90) == (1.0, 1.0, 1.0)


def test_a_score_is_the_trained_gamma_and_the_weights_come_with_it() -> None:
    found = score(study(stack(), stripes()))
    assert found.weights
    for name in ("0", "1", "2"):
        (group,) = [each for each in found.by_group if each.startswith(name)]
        assert found.by_group[group] == pytest.approx(found.weights[f"{name}.1.weight"].abs().double().numpy())


def test_two_norms_of_a_group_are_averaged_raw() -> None:
    """The stream: its stem's and its second producer's gammas; no norm is divided by its own mean."""
    found = score(study(residual(), stripes()), penalty=1e-3)
    assert found.weights
    both = (found.weights["stem.1.weight"].abs() + found.weights["down.1.weight"].abs()) / 2
    (stream,) = [name for name in found.by_group if name.startswith("stem")]
    assert found.by_group[stream] == pytest.approx(both.double().numpy())


def test_a_linear_bottleneck_has_no_say_in_its_stream() -> None:
    """MobileNetV2's case: refused with the reason, unless the stream stays whole or the user takes the risk."""
    network = residual(linear=True)
    with pytest.raises(ConfigError, match="no say in the residual stream 'stem"):
        score(study(network, stripes()))
    inner = score(study(network, stripes(), scope="inner"))
    assert sorted(name.partition(".")[0] for name in inner.by_group) == ["next", "up"]
    assert any(name.startswith("stem") for name in score(study(network, stripes()), linear=True).by_group)


def test_mobilenet_v2_is_slimmed_inside_its_blocks() -> None:
    network = build_network("torchvision:mobilenet_v2", classes=4, input_shape=(3, 32, 32))
    method: Any = plugins.build("methods", "slimming")
    with pytest.raises(ConfigError, match="no say in the residual stream"):
        method._choose_gammas(study(network, noise(network)))
    chosen = method._choose_gammas(study(network, noise(network), scope="inner"))
    assert len(chosen) == 18  # the expansion of each block but the first, the first block's, and the last layer
    assert {len(gammas) for gammas in chosen.values()} == {1, 2}


def test_a_network_without_norms_is_refused() -> None:
    from nets import NETS

    with pytest.raises(ConfigError, match="has no batch norm that slimming could train"):
        score(study(NETS["plain"]()))


def test_it_warns_where_no_channels_have_parted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        score(study(stack(), stripes()), travel=0.0, epochs=1)
    assert "no channels have parted" in caplog.text


def test_a_killed_training_goes_on_to_the_same_gammas(tmp_path: Path) -> None:
    undisturbed = score(study(stack(), stripes(), folder=tmp_path / "undisturbed"))
    steps = -(-len(stripes().train) // 32)
    told = interrupt_after("training", steps + 1)  # in the second epoch
    with pytest.raises(KeyboardInterrupt):
        score(study(stack(), stripes(), folder=tmp_path / "killed", progress=told))
    again = score(study(stack(), stripes(), folder=tmp_path / "killed"))
    assert all(np.array_equal(again.by_group[name], values) for name, values in undisturbed.by_group.items())
    assert sparsity(tmp_path / "killed") == sparsity(tmp_path / "undisturbed")


@pytest.mark.parametrize("wrong", [{"travel": -1.0}, {"penalty": -1.0}, {"epochs": 0}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        plugins.build("methods", "slimming", wrong)


def test_channels_that_nobody_reads_end_lower() -> None:
    """Nothing but the penalty moves them at first: that is what parts channels."""
    network = trained(stack(), stripes())
    with torch.no_grad():
        network.module[1][0].weight[:, ::2] = 0.0
    found = score(study(network, stripes()), travel=1.0, epochs=3).by_group
    first = next(values for name, values in found.items() if name.startswith("0"))
    assert first[::2].mean() < first[1::2].mean()
