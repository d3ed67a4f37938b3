"""Network Slimming: a sparsity penalty on batch norm scales, then one global threshold (Liu et al., arXiv 1708.06519).

Every step adds lambda x sign(gamma) to the gradient of the selected gammas; a unit's score is the mean |gamma| over
its group's norms, compared over the whole network. Lambda comes from how far the penalty alone could move a gamma
during the whole training, its travel D = lambda / (1 - momentum) x sum of all learning rates; D is a multiple of the
median |gamma| (the paper's own schedule gives D = 6.6 for VGG and 0.66 for ResNet, from gammas of 0.5).

Selected are the norms of groups that the plan may cut, but not those that another linear scale follows (see
`gammas`). Groups without a selected norm stay whole. Budgets: of MACs, milliseconds, parameters; `channels=0.6` is the
paper's percentage.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from deploy_prune.errors import ConfigError
from deploy_prune.graph.norm_scales import gammas_of, trace_flow, trained_gammas
from deploy_prune.records import read_record, write_record
from deploy_prune.scoring.methods import Scorer
from deploy_prune.scoring.study import Study
from deploy_prune.setting_rules import check_settings
from deploy_prune.train.accelerator import move_tensors
from deploy_prune.train.batches import choose_training_part, count_batches
from deploy_prune.train.loop import fit
from deploy_prune.train.recipe import Batch, Loss, Recipe, Step, plain_step
from deploy_prune.train.schedule import half_cosine
from deploy_prune.values import Data, Scores

logger = logging.getLogger(__name__)

LOG, STATE = "gammas.json", "sparse-training.safetensors"
CLEARLY = 0.8
"""Where channels have parted, q10 / q50 of the gammas has fallen below this share of its first value."""


@dataclass(frozen=True)
class Quantiles:
    """The 10, 50 and 90 % quantiles of all selected |gamma| after some epochs."""

    epoch: int
    """How many epochs were done."""
    q10: float
    q50: float
    q90: float

    @property
    def spread(self) -> float:
        """q10 / q50, which is small where some channels are much less used than most."""
        return self.q10 / max(self.q50, 1e-12)


@dataclass(frozen=True)
class Sparsity:
    """What a sparse training did to the gammas."""

    penalty: float
    """Lambda: what sign(gamma) is multiplied by in the gradient."""
    travel: float
    """How far the penalty alone could move a gamma."""
    quantiles: tuple[Quantiles, ...] = ()
    """The gammas before the training and after each epoch."""


@dataclass(frozen=True)
class Slimming:
    """How the sparse training goes."""

    needs_labels: ClassVar[bool] = True

    travel: float = 1.0
    """D in medians of |gamma|; below 0.5 channels rarely part."""
    penalty: float | None = None
    """Lambda itself, instead of what the travel gives."""
    epochs: int = 10
    """How many epochs the sparse training takes."""
    lr: float = 0.05
    """The learning rate of its first step."""
    batch_size: int = 128
    """How many images a step takes."""
    momentum: float = 0.9
    """The momentum of SGD."""
    weight_decay: float = 1e-4
    """The weight decay of SGD."""
    images: int | None = None
    """How many training images it takes, a stratified part; None: all."""
    precision: str = "auto"
    """The arithmetic of the training: `fp32`, `bf16`, or `auto` for the faster one."""
    linear: bool = False
    """Whether norms are taken, too, that another linear scale follows: at your own risk."""

    def __post_init__(self) -> None:
        rules = ((name, "0 or more", (vars(self)[name] or 0) >= 0) for name in ("travel", "penalty"))
        check_settings("method 'slimming'", self, rules)
        self.recipe(0)

    def recipe(self, seed: int) -> Recipe:
        """How the sparse training goes."""
        return Recipe(
            epochs=self.epochs, lr=self.lr, batch_size=self.batch_size, momentum=self.momentum,
            weight_decay=self.weight_decay, images=self.images, precision=self.precision, seed=seed,  # type: ignore[arg-type]
        )  # fmt: skip

    def score(self, study: Study) -> Scores:
        """Train sparsely, and give the mean |gamma| per unit and the trained weights.

        Raises:
            ConfigError: no images, no batch norms, or a residual stream whose norms say nothing.
        """
        data, recipe = study.images("slimming", labelled=self.needs_labels), self.recipe(study.seed)
        chosen = self._choose_gammas(study)
        names = tuple(dict.fromkeys(name for gammas in chosen.values() for name in gammas))
        sparsity = self._plan_sparsity(study.network.module, names, data, recipe)
        logger.info("slimming: lambda %.3g, travel %.3g", sparsity.penalty, sparsity.travel)
        log = _Log(study.folder, sparsity, names)
        log.note(0, study.network.module)
        step = _add_penalty(study.hooks.step or plain_step, names, sparsity.penalty)
        hooks = dataclasses.replace(study.hooks, teacher=study.network, step=step, fit=None, epoch=log.note)
        trained = fit(
            study.network, data, recipe, hooks=hooks,
            checkpoint=study.folder / STATE if study.folder else None, progress=study.progress,
        )  # fmt: skip
        log.judge()
        return Scores(
            _mean_magnitudes(trained.module, study, chosen), weights=move_tensors(trained.module.state_dict())
        )

    def _choose_gammas(self, study: Study) -> Mapping[str, tuple[str, ...]]:
        """Choose the gammas that are penalised and counted: group -> their names."""
        module, graph = study.network.module, study.graph
        every = {name for group in graph.free for name, _ in gammas_of(module, group)}
        ambiguous = frozenset() if self.linear else trace_flow(module, study.network.input_shapes).linear
        chosen = trained_gammas(module, graph, every - ambiguous)
        streams = [group.name for group in graph.free if group.residual]
        if study.scope == "inner":
            chosen = {name: gammas for name, gammas in chosen.items() if name not in streams}
        elif mute := [name for name in streams if name not in chosen]:
            raise ConfigError(
                f"slimming has no say in the residual stream '{mute[0]}': no non-linearity follows its norms, so that "
                "a small gamma says nothing",
                hint="use --scope inner, or the method's option linear=true at your own risk",
            )
        if not chosen:
            hint = "choose a method that looks at filters, such as legr, magnitude or uniform"
            raise ConfigError(f"{study.network.address} has no batch norm that slimming could train", hint=hint)
        left = [group.name for group in graph.free if group.name not in chosen]
        if left:
            logger.warning("slimming leaves %d groups whole that have no norm of their own: %s", len(left), left[:3])
        return chosen

    def _plan_sparsity(self, module: nn.Module, names: tuple[str, ...], data: Data, recipe: Recipe) -> Sparsity:
        rates = sum(_learning_rates(data, recipe)) / (1 - recipe.momentum)
        median = float(_magnitudes(module, names).median())
        penalty = self.travel * median / rates if self.penalty is None else self.penalty
        return Sparsity(penalty, penalty * rates)


def _learning_rates(data: Data, recipe: Recipe) -> list[float]:
    """The learning rate of every step of the training."""
    steps = recipe.epochs * count_batches(len(choose_training_part(data, recipe)), recipe.batch_size)
    return [recipe.lr * half_cosine(step, steps) for step in range(steps)]


def _magnitudes(module: nn.Module, names: tuple[str, ...]) -> Tensor:
    parameters = dict(module.named_parameters())
    return torch.cat([parameters[name].detach().abs().float() for name in names]).cpu()


def _add_penalty(plain: Step, names: tuple[str, ...], penalty: float) -> Step:
    """Make a step whose loss has lambda x sum of |gamma|: its gradient is the paper's lambda x sign(gamma), 0 at 0."""

    def step(module: nn.Module, batch: Batch, loss: Loss) -> Tensor:
        parameters = dict(module.named_parameters())
        sparse = torch.stack([parameters[name].abs().sum() for name in names]).sum()
        return plain(module, batch, loss) + penalty * sparse

    return step


def _mean_magnitudes(module: nn.Module, study: Study, chosen: Mapping[str, tuple[str, ...]]) -> dict[str, np.ndarray]:
    """Group -> the mean |gamma| of every unit over its norms, (units,).

    It is raw: each norm by its own mean would erase the sparsity between layers, which a global threshold lives on.
    """
    return {
        group.name: np.mean(
            [
                values.abs().double().mean(dim=1).cpu().numpy()
                for name, values in gammas_of(module, group)
                if name in chosen[group.name]
            ],
            axis=0,
        )
        for group in study.graph.free
        if group.name in chosen
    }


class _Log:
    """Gammas epoch by epoch, on disk where there is a folder."""

    def __init__(self, folder: Path | None, sparsity: Sparsity, names: tuple[str, ...]) -> None:
        self._path = folder / LOG if folder else None
        self._names = names
        known = self._path is not None and self._path.exists()
        self._sparsity = read_record(self._path, Sparsity) if known and self._path else sparsity

    def note(self, epoch: int, module: nn.Module) -> None:
        """Write down how the gammas lie after an epoch."""
        low, middle, high = torch.quantile(_magnitudes(module, self._names), torch.tensor([0.1, 0.5, 0.9])).tolist()
        before = [each for each in self._sparsity.quantiles if each.epoch < epoch]
        quantiles = (*before, Quantiles(epoch, low, middle, high))
        if epoch == 0 and self._sparsity.quantiles:
            return  # of the training that goes on
        self._sparsity = dataclasses.replace(self._sparsity, quantiles=quantiles)
        if self._path:
            write_record(self._path, self._sparsity)

    def judge(self) -> None:
        """Warn where no channels have parted."""
        first, last = self._sparsity.quantiles[0].spread, self._sparsity.quantiles[-1].spread
        if last > CLEARLY * first:
            logger.warning(
                "slimming: no channels have parted (q10/q50 of |gamma| was %.2f, is %.2f): this is pruning by batch "
                "norm scale; more travel or more epochs make it sparse", first, last,
            )  # fmt: skip


plugin: type[Scorer] = Slimming
