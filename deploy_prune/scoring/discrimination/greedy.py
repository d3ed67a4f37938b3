"""The greedy selection that DCP and DKP share: what the loss pulls at hardest is taken in, step by step.

L = L_M + lambda x L_S, with L_M = 1 / (2Q) x sum of (O_b - O)^2 over the Q numbers that a layer gives out, and L_S the
cross-entropy of the next head (arXiv 1810.11809, equations 1 to 5). A group's weights begin at 0; each step takes in
the units with the largest gradients at their dense values, and trains what was taken in so far for one pass over the
selection set. All norms stand still. Every loss is that of the whole set at fixed weights, found with the gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from deploy_prune.errors import Diverged
from deploy_prune.graph.flat_network import Path, Tensors
from deploy_prune.scoring.discrimination.cached_batches import LayerBatch, Rows
from deploy_prune.scoring.discrimination.candidates import Units
from deploy_prune.scoring.discrimination.stopping import Stop


@dataclass(frozen=True, eq=False)
class ReadingLayer:
    """One layer of a selection."""

    path: Path
    """The way from the layer's weight to its goal."""
    units: Units
    """How the candidates lie in the weight."""
    head: nn.Module | None
    """The head at the path's end; None: the path ends in the network's own logits."""
    goal_value: Tensor
    """The weight in the reference network."""
    start: Tensor
    """The weight as it is now; where no candidate lies it stays so."""

    def mask(self, chosen: Tensor) -> Tensor:
        """Say where the chosen candidates are: bool, of the weight's shape, on its device."""
        return self.units.mask(chosen).to(self.start.device)


@dataclass(frozen=True)
class Growth:
    """How a selection grows."""

    count: int
    """How many candidates are taken in at the most."""
    per_step: int
    """How many enter at once."""
    stop: Stop | None = None
    """The rule by which the selection stops by itself; None: it does not."""
    floor: int = 1
    """How many candidates are taken in before it may stop."""
    balance: float = 1.0
    """Lambda: the weight of the discrimination loss."""
    lr: float = 0.01
    """The learning rate of what was taken in."""
    momentum: float = 0.9
    """The momentum of SGD."""
    weight_decay: float = 1e-4
    """The weight decay of SGD, on what was taken in alone."""


@dataclass(frozen=True, eq=False)
class Grown:
    """What a selection has come to."""

    chosen: Tensor
    """Which candidates were taken in: bool, shape (candidates,)."""
    weights: tuple[Tensor, ...]
    """The weight of each reader, in the order of the readers."""
    reconstruction: tuple[float, ...] = ()
    """L_M of all readers together, before each step."""
    discrimination: tuple[float, ...] = ()
    """L_S of all readers together, before each step."""


def grow(
    name: str,
    readers: Sequence[ReadingLayer],
    rows: Rows,
    tensors: Tensors,
    growth: Growth,
) -> Grown:
    """Take in candidates until there are enough, or no more is worth it.

    Args:
        name: what is selected, for errors.
        readers: the layers in which the same candidates are taken in.
        rows: passes over the selection set, a piece per reader.
        tensors: the network's weights; readers' own are not looked at.
        growth: how the selection grows.

    Raises:
        Diverged: the loss became NaN.
    """
    selection = _Selection(name, readers, rows, tensors, growth)
    chosen = torch.zeros(readers[0].units.pull(readers[0].start).numel(), dtype=torch.bool)
    weights = [each.start.masked_fill(each.mask(~chosen), 0.0) for each in readers]
    distances: list[float] = []
    entropies: list[float] = []
    while (taken := int(chosen.sum())) < growth.count:
        gradients, (distance, entropy) = selection.gradients(weights)
        distances.append(distance)
        entropies.append(entropy)
        both = [m + growth.balance * s for m, s in zip(distances, entropies, strict=True)]
        if growth.stop is not None and taken >= growth.floor and growth.stop(both):
            break
        pull = torch.stack([each.units.pull(of).cpu() for each, of in zip(readers, gradients, strict=True)]).sum(0)
        new = _strongest(pull, chosen, min(growth.per_step, growth.count - taken))
        chosen = chosen | new
        entered = [
            torch.where(each.mask(new), each.goal_value, now) for each, now in zip(readers, weights, strict=True)
        ]
        weights = selection.train(entered, chosen)
    return Grown(chosen, tuple(weights), tuple(distances), tuple(entropies))


def losses_of(reader: ReadingLayer, piece: LayerBatch, weight: Tensor, tensors: Tensors) -> tuple[Tensor, Tensor]:
    """L_M and L_S of one layer on one batch, a scalar each."""
    *given, goal = reader.path.part(piece.given, {**tensors, reader.path.weight: weight})
    numbers = sum(target.numel() for target in piece.targets)
    distances = [(output - target).square().sum() for output, target in zip(given, piece.targets, strict=True)]
    logits = goal if reader.head is None else reader.head(goal)
    return torch.stack(distances).sum() / (2 * numbers), functional.cross_entropy(logits.float(), piece.labels)


def _strongest(pull: Tensor, chosen: Tensor, count: int) -> Tensor:
    """The candidates with the largest pull that are not in yet, the lower number at a tie."""
    order = torch.argsort(pull.masked_fill(chosen, -math.inf), descending=True, stable=True)
    new = torch.zeros_like(chosen)
    new[order[:count]] = True
    return new


@dataclass(frozen=True, eq=False)
class _Selection:
    """What stays the same from step to step."""

    name: str
    readers: Sequence[ReadingLayer]
    rows: Rows
    tensors: Tensors
    growth: Growth

    def gradients(self, weights: Sequence[Tensor]) -> tuple[list[Tensor], tuple[float, float]]:
        """The gradient of L over the selection set for each reader; and the mean L_M and L_S, summed over readers."""
        leaves = [weight.clone().requires_grad_() for weight in weights]
        distance, entropy, batches = 0.0, 0.0, 0
        for row in self.rows():
            batches += 1
            for reader, piece, leaf in zip(self.readers, row, leaves, strict=True):
                m, s = losses_of(reader, piece, leaf, self.tensors)
                (m + self.growth.balance * s).backward()  # type: ignore[no-untyped-call]
                distance, entropy = distance + float(m.detach()), entropy + float(s.detach())
        self._refuse_nan(distance + entropy)
        gradients = [leaf.grad / batches for leaf in leaves if leaf.grad is not None]
        return gradients, (distance / batches, entropy / batches)

    def train(self, weights: Sequence[Tensor], chosen: Tensor) -> list[Tensor]:
        """Train what is chosen in each layer for one pass of SGD, by its own loss; all else stays exactly as it is."""
        growth = self.growth
        leaves = [weight.clone().requires_grad_() for weight in weights]
        masks = [reader.mask(chosen) for reader in self.readers]
        optimizer = torch.optim.SGD(leaves, lr=growth.lr, momentum=growth.momentum, nesterov=growth.momentum > 0)
        for row in self.rows():
            optimizer.zero_grad(set_to_none=True)
            for reader, piece, leaf, mask in zip(self.readers, row, leaves, masks, strict=True):
                m, s = losses_of(reader, piece, leaf, self.tensors)
                loss = m + growth.balance * s
                self._refuse_nan(float(loss.detach()))
                loss.backward()  # type: ignore[no-untyped-call]
                assert leaf.grad is not None
                # The decay is ours to add: the optimizer's would also shrink what stands still.
                leaf.grad = (leaf.grad + growth.weight_decay * leaf.detach()) * mask
            optimizer.step()
        return [leaf.detach() for leaf in leaves]

    def _refuse_nan(self, loss: float) -> None:
        if not math.isfinite(loss):
            message = f"the loss became {loss} while '{self.name}' was selected; what was selected before it is kept"
            hint = f"lower the learning rate (now {self.growth.lr}), or look for NaN in the dense weights"
            raise Diverged(message, hint=hint)
