"""`fit`: trains a copy of a network, resumable after every epoch to the same final weights."""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from deploy_prune.errors import ConfigError, Diverged
from deploy_prune.sources.data import check_fit
from deploy_prune.sources.weights import find_lost_weight
from deploy_prune.train.accelerator import find_device, fork_generators, move_network
from deploy_prune.train.batches import choose_training_part, count_batches, draw_epoch
from deploy_prune.train.distillation import distance
from deploy_prune.train.masks import apply_masks
from deploy_prune.train.outputs import Outputs, convert_to_fp32
from deploy_prune.train.precision import Arithmetic, choose_fastest
from deploy_prune.train.recipe import OURS, Batch, Hooks, Loss, Recipe, plain_step
from deploy_prune.train.schedule import half_cosine
from deploy_prune.train.state import Standing, fingerprint, load_state, save_state
from deploy_prune.train.targets import add_target, find_dense_network, find_task, move_batch
from deploy_prune.train.tasks import Task
from deploy_prune.values import Data, Network, Progress, quiet

logger = logging.getLogger(__name__)


def fit(
    network: Network,
    data: Data,
    recipe: Recipe,
    *,
    hooks: Hooks = OURS,
    checkpoint: Path | None = None,
    progress: Progress = quiet,
) -> Network:
    """A new, trained network in eval mode, on the device of the one given, which is not touched.

    With a `checkpoint` path the state is written there after every epoch, and a training that was killed goes on
    from it to the very weights it would have reached; the file stays when the training is done.

    Raises:
        ConfigError: the recipe distills, or there are no labels to train on, and there is no teacher.
        Diverged: the loss or a weight became NaN or infinite.
        DataError: network and data do not belong together.
        RecordError: the checkpoint is damaged or of another training.
    """
    check_fit(network, data)
    device = find_device(network.module)
    if hooks.teacher is not None:
        hooks = dataclasses.replace(hooks, teacher=move_network(hooks.teacher, device))
    task = find_task(network, hooks, data)
    if hooks.fit is None:
        recipe = _distil_without_labels(recipe, find_dense_network(task, hooks))
    if recipe.distill and hooks.teacher is None:
        raise ConfigError("the recipe distills and there is no teacher", hint="give Hooks(teacher=...) or distill=0")
    copied = dataclasses.replace(network, module=copy.deepcopy(network.module))
    if hooks.fit is None:
        hooks = dataclasses.replace(hooks, task=task)
        _train(_Run(copied, data, recipe, hooks, choose_training_part(data, recipe), progress), checkpoint)
        trained = copied.module.to(memory_format=torch.contiguous_format)
    else:
        trained = hooks.fit(copied, data, recipe)
    if not isinstance(trained, nn.Module):
        raise ConfigError(f"your fit returned a {type(trained).__name__}", hint="return the trained nn.Module")
    _refuse_lost_weights(trained, "your fit", recipe)
    return apply_masks(dataclasses.replace(network, module=trained.eval()))


def _distil_without_labels(recipe: Recipe, dense: Network | None) -> Recipe:
    """The recipe, distilling from the dense network and nothing else where there is no label to learn from."""
    if dense is None or recipe.distill == 1:
        return recipe
    logger.info("there are no labels: the network is trained on the dense network's answers alone (distill = 1)")
    return dataclasses.replace(recipe, distill=1.0)


@dataclasses.dataclass(frozen=True, eq=False)
class _Run:
    """What stays the same from step to step."""

    network: Network
    """A copy that is trained in place."""
    data: Data
    recipe: Recipe
    hooks: Hooks
    """The caller's, with the task put in."""
    part: np.ndarray
    progress: Progress

    @property
    def module(self) -> nn.Module:
        return self.network.module

    @property
    def device(self) -> torch.device:
        return find_device(self.module)

    @property
    def task(self) -> Task:
        assert self.hooks.task is not None
        return self.hooks.task

    @property
    def steps(self) -> int:
        return count_batches(len(self.part), self.recipe.batch_size)

    def epoch_seed(self, epoch: int) -> int:
        return self.recipe.seed * 100_003 + epoch

    def identity(self) -> str:
        """What a checkpoint must have been written for; callables cannot be told apart and do not count."""
        network, teacher = self.network, self.hooks.teacher
        taught = fingerprint(teacher.module) if teacher and self.recipe.distill else ""
        described = (network.address, dict(network.options), self.recipe, self.data.name, len(self.data.train))
        later = () if self.recipe.norms == "batch" else (self.recipe.norms,)
        return fingerprint(self.module, described, taught, *later)


def _train(run: _Run, checkpoint: Path | None) -> None:
    identity = run.identity()
    optimizer = _make_optimizer(run.module, run.recipe)
    # Whatever the network itself draws (dropout) comes from the epoch's seed; the caller's generator is left alone.
    with fork_generators(run.device):
        if checkpoint is not None and checkpoint.exists():
            standing = load_state(checkpoint, identity, run.module, optimizer)
        else:
            standing = _begin(run, identity)
            if checkpoint is not None:  # before the first epoch: what was measured is not measured again
                save_state(checkpoint, standing, run.module, optimizer)
        for epoch in range(standing.epochs_done, run.recipe.epochs):
            _train_epoch(run, optimizer, standing.arithmetic, epoch)
            _refuse_lost_weights(run.module, f"epoch {epoch + 1} of {run.recipe.epochs}", run.recipe)
            if run.hooks.epoch is not None:
                run.hooks.epoch(epoch + 1, run.module)
            if checkpoint is not None:
                done = dataclasses.replace(standing, epochs_done=epoch + 1)
                save_state(checkpoint, done, run.module, optimizer)


def _begin(run: _Run, identity: str) -> Standing:
    batch = next(draw_epoch(run.data, run.part, batch_size=run.recipe.batch_size, seed=run.epoch_seed(0)))
    arithmetic = choose_fastest(run.module, batch.images.to(run.device), run.recipe.precision)
    arithmetic.place(run.module)
    logger.info("training %s with %s", run.network.address, arithmetic)
    return Standing(identity, 0, arithmetic)


def _train_epoch(run: _Run, optimizer: torch.optim.Optimizer, arithmetic: Arithmetic, epoch: int) -> None:
    recipe, total = run.recipe, run.recipe.epochs * run.steps
    step = run.hooks.step or plain_step
    torch.manual_seed(run.epoch_seed(epoch))
    _set_mode(run.module, recipe)
    batches = draw_epoch(run.data, run.part, batch_size=recipe.batch_size, seed=run.epoch_seed(epoch))
    for done, batch in enumerate(batches, start=epoch * run.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * half_cosine(done, total)
        moved = move_batch(batch, run.device)
        moved = Batch(arithmetic.images(moved.images), moved.target)
        with arithmetic.autocast(run.device):
            aimed = add_target(moved, find_dense_network(run.task, run.hooks))
            loss = step(run.module, aimed, _make_objective(run, aimed))
        if not loss.requires_grad:
            raise ConfigError("your loss does not depend on the network's weights", hint="return it undetached")
        value = float(loss.detach())
        if not math.isfinite(value):
            message = (
                f"the loss became {value} in epoch {epoch + 1} of {recipe.epochs}, step {done - epoch * run.steps + 1}"
            )
            raise Diverged(message, hint=f"lower the learning rate (now {recipe.lr})")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        apply_masks(run.network)
        run.progress("training", done + 1, total, f"epoch {epoch + 1}/{recipe.epochs}, loss {value:.3f}")


def _set_mode(module: nn.Module, recipe: Recipe) -> None:
    """Training mode, but for norms whose statistics stay."""
    module.train()
    for part in module.modules():
        if isinstance(part, _BatchNorm) and recipe.norms == "frozen":
            part.eval()


def _refuse_lost_weights(module: nn.Module, when: str, recipe: Recipe) -> None:
    """Refuse what a last step made NaN or infinite, before it is saved; the loss was still a number then.

    Raises:
        Diverged: a weight, or a statistic of a norm, is no number any more.
    """
    if lost := find_lost_weight(module):
        raise Diverged(f"'{lost}' became NaN or infinite in {when}", hint=f"lower the learning rate (now {recipe.lr})")


def _make_objective(run: _Run, batch: Batch) -> Loss:
    """The loss of this batch; with a teacher, the distance from its answers is part of it.

    Where there are no labels, the teacher's answers are the batch's target already.
    """
    recipe, teacher = run.recipe, run.hooks.teacher
    ours = partial(run.task.loss, smoothing=recipe.label_smoothing, temperature=recipe.temperature)
    plain = run.hooks.loss or ours
    if not run.task.needs_labels or not recipe.distill or teacher is None:
        return lambda outputs, target: plain(convert_to_fp32(outputs), target)
    with torch.no_grad():
        answers = teacher.module(batch.images)

    def loss(outputs: Outputs, target: Tensor) -> Tensor:
        distilled = distance(outputs, answers, recipe.temperature)
        return (1 - recipe.distill) * plain(convert_to_fp32(outputs), target) + recipe.distill * distilled

    return loss


def _make_optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        parameters,
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
    )
