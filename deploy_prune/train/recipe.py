"""How a network is trained: the numbers (`Recipe`), and what the caller brings along (`Hooks`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from deploy_prune.setting_rules import MOST_SEED, SettingRule, check_settings
from deploy_prune.values import Data, Network

if TYPE_CHECKING:
    from torch import Tensor, nn

    from deploy_prune.train.tasks import Task

Wish = Literal["auto", "cpu", "cuda", "mps"]
"""What `--accelerator` takes: one of these devices, or `auto` for the first of cuda, mps and cpu that can be used."""


@dataclass(frozen=True)
class Recipe:
    """One training run. The learning rate falls to 0 along half a cosine, step by step."""

    epochs: int
    """Passes over the training images (over `images` of them, where that is set)."""
    batch_size: int = 128
    """Images per step."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """`sgd` is Nesterov's."""
    lr: float = 0.05
    """Learning rate of the first step."""
    momentum: float = 0.9
    """The momentum of `sgd`."""
    weight_decay: float = 1e-4
    """Added to the gradient by `sgd`, decoupled in `adamw`."""
    label_smoothing: float = 0.0
    """Share of the target spread over all classes."""
    distill: float = 0.0
    """Weight of the teacher's answers in the loss (Hinton et al. 2015, arXiv 1503.02531); the labels get the rest."""
    temperature: float = 4.0
    """Softens both answers when distilling."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic while training; `auto` times a few batches of this network in each and takes the fastest."""
    norms: Literal["batch", "frozen"] = field(default="batch", repr=False)  # states of before know no such field
    """What batch norms divide by: each batch's statistics, or, `frozen`, those that they hold, which then stay: a
    refitted network is trained from the very function that it is."""
    images: int | None = None
    """A fixed, stratified part of the training images; None: all."""
    seed: int = 0
    """Draws the part, the order, the crops and the flips."""

    def __post_init__(self) -> None:
        check_settings("training", self, self._rules())

    def _rules(self) -> tuple[SettingRule, ...]:
        return (
            ("epochs", "at least 1", self.epochs >= 1),
            ("batch_size", "at least 2", self.batch_size >= 2),
            ("optimizer", "sgd or adamw", self.optimizer in ("sgd", "adamw")),
            ("lr", "positive", self.lr > 0),
            ("momentum", "in [0, 1)", 0 <= self.momentum < 1),
            ("weight_decay", "0 or more", self.weight_decay >= 0),
            ("label_smoothing", "in [0, 1)", 0 <= self.label_smoothing < 1),
            ("distill", "in [0, 1]", 0 <= self.distill <= 1),
            ("temperature", "positive", self.temperature > 0),
            ("precision", "auto, fp32 or bf16", self.precision in ("auto", "fp32", "bf16")),
            ("norms", "batch or frozen", self.norms in ("batch", "frozen")),
            ("images", "at least 2", self.images is None or self.images >= 2),
            ("seed", f"from 0 to {MOST_SEED}", 0 <= self.seed <= MOST_SEED),
        )


class Batch(NamedTuple):
    """What a step trains on."""

    images: Tensor
    """float32 (images, channels, height, width), normalised and augmented."""
    target: Any
    """What the outputs should be: labels, int64 (images,), or what the dense network returned for these images."""


Loss: TypeAlias = "Callable[[Any, Any], Tensor]"
"""(what the forward returned, target) -> scalar."""


Metric: TypeAlias = "Callable[[Any, Any], Tensor]"
"""(what the forward returned, target) -> one number per image, the higher, the better."""


Step: TypeAlias = "Callable[[nn.Module, Batch, Loss], Tensor]"
"""(module, batch, loss) -> the loss to step on."""


def plain_step(module: nn.Module, batch: Batch, loss: Loss) -> Tensor:
    """Our own step: the loss of what the module returns."""
    return loss(module(batch.images), batch.target)


@dataclass(frozen=True)
class Hooks:
    """What the caller brings to training and judging: a teacher, a task, and callables in place of ours (None: ours).

    A loss and a metric get what the network's forward returned, all of it, and the batch's target: its labels, or where
    there are none what the dense network returned for the same images.
    """

    teacher: Network | None = None
    """The network whose answers are distilled; needed where the recipe's `distill` is not 0. Without labels it is the
    dense network, which every network is trained on and held against."""
    loss: Loss | None = None
    """(outputs, target) -> scalar; distillation, where asked for, is still added to that of labels."""
    metric: Metric | None = None
    """(outputs, target) -> one number per image, for example whether the label is among the first five."""
    step: Step | None = None
    """(module, batch, loss) -> the loss to step on: the forward pass and what belongs to it."""
    fit: Callable[[Network, Data, Recipe], nn.Module] | None = None
    """Replaces the whole training; gets a copy of the network that it may change, returns the trained module."""
    epoch: Callable[[int, nn.Module], None] | None = None
    """(epochs done, module): told after every epoch, again after an interruption; it must not change the module."""
    task: Task | None = None
    """What the network is for; None: what the data say, see `train.tasks.choose_task`."""


OURS = Hooks()
"""Nothing of the caller's own."""
