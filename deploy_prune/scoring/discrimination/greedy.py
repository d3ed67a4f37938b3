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
    units: Units
    head: nn.Module | None
    """None: the path ends in the network's own logits."""
    goal_value: Tensor
    """The weight in the reference network."""
    start: Tensor
    """The weight as it is now; where no candidate lies it stays so."""

    def mask(self, chosen: Tensor) -> Tensor:
        """Where the chosen candidates are, beside the weight."""
        return self.units.mask(chosen).to(self.start.device)


@dataclass(frozen=True)
class Growth:
    """How a selection grows."""

    count: int
    """Candidates that are taken in at the most."""
    per_step: int
    stop: Stop | None = None
    floor: int = 1
    """Candidates before which it does not stop."""
    balance: float = 1.0
    """Lambda: the weight of the discrimination loss."""
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-4


@dataclass(frozen=True, eq=False)
class Grown:
    """What a selection has come to."""

    chosen: Tensor
    """bool (candidates,)."""
    weights: tuple[Tensor, ...]
    """Of the readers, in order."""
    reconstruction: tuple[float, ...] = ()
    """L_M of all readers together, before each step."""
    discrimination: tuple[float, ...] = ()


def grown(
    name: str,
    readers: Sequence[ReadingLayer],
    rows: Rows,
    tensors: Tensors,
    growth: Growth,
) -> Grown:
    """Take in candidates until there are enough, or no more is worth it.

    Args:
        name: of what is selected, for errors.
        readers: the layers in which the same candidates are taken in.
        rows: passes over the selection set, a piece per reader.
        tensors: the network's weights; readers' own are not looked at.
        growth: how.

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
        weights = selection.trained(entered, chosen)
    return Grown(chosen, tuple(weights), tuple(distances), tuple(entropies))


def losses_of(reader: ReadingLayer, piece: LayerBatch, weight: Tensor, tensors: Tensors) -> tuple[Tensor, Tensor]:
    """L_M and L_S of one layer on one batch."""
    *given, goal = reader.path.part(piece.given, {**tensors, reader.path.weight: weight})
    numbers = sum(target.numel() for target in piece.targets)
    distances = [(found - target).square().sum() for found, target in zip(given, piece.targets, strict=True)]
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
        """Of L over the selection set for each reader; and the mean L_M and L_S, summed over readers."""
        leaves = [weight.clone().requires_grad_() for weight in weights]
        distance, entropy, batches = 0.0, 0.0, 0
        for row in self.rows():
            batches += 1
            for reader, piece, leaf in zip(self.readers, row, leaves, strict=True):
                m, s = losses_of(reader, piece, leaf, self.tensors)
                (m + self.growth.balance * s).backward()  # type: ignore[no-untyped-call]
                distance, entropy = distance + float(m.detach()), entropy + float(s.detach())
        self._hold(distance + entropy)
        found = [leaf.grad / batches for leaf in leaves if leaf.grad is not None]
        return found, (distance / batches, entropy / batches)

    def trained(self, weights: Sequence[Tensor], chosen: Tensor) -> list[Tensor]:
        """One pass of SGD over what is chosen in each layer, by its own loss; all else stays exactly as it is."""
        growth = self.growth
        leaves = [weight.clone().requires_grad_() for weight in weights]
        masks = [reader.mask(chosen) for reader in self.readers]
        optimizer = torch.optim.SGD(leaves, lr=growth.lr, momentum=growth.momentum, nesterov=growth.momentum > 0)
        for row in self.rows():
            optimizer.zero_grad(set_to_none=True)
            for reader, piece, leaf, mask in zip(self.readers, row, leaves, masks, strict=True):
                m, s = losses_of(reader, piece, leaf, self.tensors)
                loss = m + growth.balance * s
                self._hold(float(loss.detach()))
                loss.backward()  # type: ignore[no-untyped-call]
                assert leaf.grad is not None
                # The decay is ours to add: the optimizer's would also shrink what stands still.
                leaf.grad = (leaf.grad + growth.weight_decay * leaf.detach()) * mask
            optimizer.step()
        return [leaf.detach() for leaf in leaves]

    def _hold(self, loss: float) -> None:
        if not math.isfinite(loss):
            message = f"the loss became {loss} while '{self.name}' was selected; what was selected before it is kept"
            hint = f"lower the learning rate (now {self.growth.lr}), or look for NaN in the dense weights"
            raise Diverged(message, hint=hint)
