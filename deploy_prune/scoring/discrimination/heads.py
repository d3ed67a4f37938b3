"""DCP's auxiliary heads: small classifiers at the ends of blocks, which say how discriminative the features are there.

F_p = global average pool(ReLU(batch norm(O_p))), then a linear layer and cross-entropy (arXiv 1810.11809, section 3.1).
They are trained on a frozen trunk, which takes seconds. Optionally network and heads are trained together first, as in
the authors' second release; theirs steps once per loss on one graph, which torch refuses today, ours is one backward
pass of the weighted sum.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.nn import functional

from deploy_prune.errors import ConfigError, Diverged
from deploy_prune.graph.flat_network import Flat
from deploy_prune.scoring.study import Study
from deploy_prune.train.accelerator import CPU
from deploy_prune.train.batches import draw_epoch
from deploy_prune.train.loop import fit
from deploy_prune.train.recipe import Batch, Hooks, Loss, Recipe
from deploy_prune.train.schedule import half_cosine
from deploy_prune.values import Data, Network

JOINT = "joint-training.safetensors"
LEAST_WEIGHT = 0.01
"""The least weight of a head's loss in the joint training."""


class Head(nn.Module):
    """A classifier of features (images, channels, ...) that gives logits (images, classes)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        # Not a module of torch's: it takes maps and vectors alike.
        self.scale, self.shift = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))
        self.linear = nn.Linear(channels, classes)
        nn.init.zeros_(self.linear.bias)

    mean: Tensor
    variance: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """Give the logits: (images, channels, ...) -> (images, classes)."""
        normed = functional.batch_norm(
            features.float(), self.mean, self.variance, self.scale, self.shift, training=self.training
        )
        logits: Tensor = self.linear(normed.relu().flatten(2).mean(2) if features.dim() > 2 else normed.relu())
        return logits


@dataclasses.dataclass(frozen=True)
class HeadRecipe:
    """How heads are trained."""

    epochs: int = 3
    """How many epochs heads are trained for on the frozen trunk."""
    images: int = 3_000
    """How many training images they are trained on, augmented."""
    lr: float = 0.1
    """The learning rate of their first step."""
    joint_epochs: int = 0
    """How many epochs network and heads are trained together, before that."""
    joint_lr: float = 0.01
    """The learning rate of that training's first step."""


def make_heads(ends: Sequence[Node], classes: int, *, seed: int, device: torch.device = CPU) -> tuple[Head, ...]:
    """Make untrained heads for the ends of some blocks: drawn on the CPU, then put on the device of the network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return tuple(Head(end.meta["val"].shape[1], classes).to(device) for end in ends)


def train_heads(
    flat: Flat, ends: Sequence[Node], heads: Sequence[Head], data: Data, recipe: HeadRecipe, *, seed: int
) -> tuple[Head, ...]:
    """Train copies of heads on the features of a network that stays as it is; they are given in eval mode.

    Raises:
        ConfigError: too few images, or a loss that became NaN.
    """
    heads = tuple(copy.deepcopy(head).train() for head in heads)
    total = recipe.epochs * _steps_per_epoch(data, recipe, flat.batch) if heads else 0
    if heads and recipe.epochs and not total:
        message = f"heads are trained on {recipe.images} images, fewer than a batch of {flat.batch}"
        raise ConfigError(message, hint="more head_images, or a smaller batch_size")
    trunk = flat.part(tuple(ends), (flat.image,))
    optimizers = [torch.optim.SGD(head.parameters(), momentum=0.9, weight_decay=1e-4, nesterov=True) for head in heads]
    for step, batch in zip(range(total), _draw_batches(data, recipe, flat.batch, seed), strict=False):
        labels = batch.target.to(heads[0].mean.device)
        with torch.no_grad():
            features = trunk((flat.images(batch.images),), flat.tensors)
        for head, optimizer, each in zip(heads, optimizers, features, strict=True):
            optimizer.param_groups[0]["lr"] = recipe.lr * half_cosine(step, total)
            _step(optimizer, functional.cross_entropy(head(each), labels))
    return tuple(head.eval().requires_grad_(False) for head in heads)


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    if not math.isfinite(float(loss.detach())):
        hint = "do the dense network's weights hold NaN? If not, lower the learning rate that heads are trained with"
        raise Diverged(f"the loss of a head became {float(loss.detach())} while heads were trained", hint=hint)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _steps_per_epoch(data: Data, recipe: HeadRecipe, batch: int) -> int:
    """How many steps an epoch has: whole batches, as a flat network takes no others."""
    return min(recipe.images, len(data.train)) // batch


def _draw_batches(data: Data, recipe: HeadRecipe, batch: int, seed: int) -> Iterator[Batch]:
    part = np.random.default_rng(seed).permutation(len(data.train))[: recipe.images]
    for epoch in range(recipe.epochs):
        for each in draw_epoch(data, part, batch_size=batch, seed=seed * 100_003 + epoch):
            if len(each.images) == batch:
                yield each


# --- network and heads together ------------------------------------------------------------------------------


class _Joint(nn.Module):
    """A network with heads on the outputs of some of its modules; by itself it answers as the network does."""

    def __init__(self, network: nn.Module, heads: Sequence[Head], modules: Sequence[str]) -> None:
        super().__init__()
        self.network, self.heads, self.modules_with_heads = network, nn.ModuleList(heads), tuple(modules)

    def forward(self, images: Tensor) -> Tensor:
        """Give the network's own logits: (images, classes)."""
        logits: Tensor = self.network(images)
        return logits

    def all_logits(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Give the network's own logits, and those of every head: (images, classes) each."""
        answers: dict[str, Tensor] = {}
        pairs = zip(self.modules_with_heads, self.heads, strict=True)
        handles = [_watch(self.network, name, head, answers) for name, head in pairs]
        try:
            logits = self.network(images)
        finally:
            for handle in handles:
                handle.remove()
        return logits, [answers[name] for name in self.modules_with_heads]


def _watch(
    module: nn.Module, name: str, head: nn.Module, answers: dict[str, Tensor]
) -> torch.utils.hooks.RemovableHandle:
    def note(part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        del part, inputs
        answers[name] = head(output.clone())  # what comes next may change it in place

    return module.get_submodule(name).register_forward_hook(note)


def train_jointly(
    study: Study, modules: Mapping[str, float], heads: Sequence[Head], recipe: Recipe
) -> tuple[Network, tuple[Head, ...]]:
    """Train network and heads on L_f + sum of weight_p x L_S^p, one backward pass per step.

    Args:
        study: whose network is trained; in its folder an interrupted training goes on.
        modules: the module whose output a head reads -> the weight of that head's loss.
        heads: the heads, in the order of `modules`.
        recipe: how they are trained.

    Raises:
        Diverged: the loss became NaN.
    """
    weights, network = tuple(modules.values()), study.network
    assert study.data is not None

    def step(module: nn.Module, batch: Batch, loss: Loss) -> Tensor:
        assert isinstance(module, _Joint)
        own, others = module.all_logits(batch.images)
        terms = [weight * loss(each, batch.target) for weight, each in zip(weights, others, strict=True)]
        return torch.stack([loss(own, batch.target), *terms]).sum()

    masks = {f"network.{name}": mask for name, mask in network.masks.items()}
    joint = dataclasses.replace(network, module=_Joint(network.module, heads, tuple(modules)), masks=masks)
    resume = study.folder / JOINT if study.folder else None
    trained = fit(joint, study.data, recipe, hooks=Hooks(step=step), checkpoint=resume, progress=study.progress).module
    assert isinstance(trained, _Joint)
    trained_heads = tuple(head for head in trained.heads if isinstance(head, Head))
    return dataclasses.replace(network, module=trained.network), trained_heads


def head_weight(depth: int, deepest: int) -> float:
    """The weight of a head's loss in the joint training, by its block's number and the last one's (second release)."""
    return max(LEAST_WEIGHT, (depth / deepest) ** 2)


def modules_at(flat: Flat, ends: Sequence[Node], network: Network, images: Tensor) -> tuple[str, ...]:
    """Find the modules that give out what the ends of these blocks hold, by running both.

    Raises:
        ConfigError: no module gives one of them out, or only modules that are called several times.
    """
    outputs: dict[str, list[Tensor]] = {}
    module = copy.deepcopy(network.module).eval()
    images = images.to(flat.device)

    def note(name: str, output: object) -> None:
        # A copy: what comes next may change it in place.
        outputs.setdefault(name, []).append(output.clone() if isinstance(output, Tensor) else torch.empty(0))

    for name, part in module.named_modules():
        part.register_forward_hook(lambda _part, _inputs, output, name=name: note(name, output))
    with torch.no_grad():
        module(images)
        features = flat.part(tuple(ends), (flat.image,))((images,), flat.tensors)
    return tuple(_find_module_of(outputs, value, network.address) for value in features)


def _find_module_of(outputs: Mapping[str, list[Tensor]], value: Tensor, address: str) -> str:
    for name, calls in outputs.items():
        alike = len(calls) == 1 and calls[0].shape == value.shape
        if alike and torch.allclose(calls[0], value, rtol=1e-4, atol=1e-5 * float(value.abs().max())):
            return name
    message = f"{address} has no module that gives out the end of a block, so that no head can be trained with it"
    raise ConfigError(message, hint="finetune_epochs=0 trains heads alone; or put each block into a module of its own")
