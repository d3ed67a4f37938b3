"""What a layer's weight becomes when inputs go, by what it read in the uncut network alone: one solve, no images.

With P the inverse of the inputs' centred second moments C + lambda I, inputs k that stay and g that go,

    W_k <- W_k - W_g P_gg^-1 P_gk,

which is W_k + W_g C_gk (C_kk + lambda I)^-1, the weights that give nearest to what all inputs gave. The constant
that is missing then goes to the layer's bias or to the mean of the norm that it alone feeds. Each layer is taken for
itself: what layers before it have lost, it does not know. Learnt from GRAIL (arXiv 2602.23795), which maps in this way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deploy_prune.graph.flat_layers import LayerForm
from deploy_prune.graph.surgery import Indices
from deploy_prune.train.refit.forms import as_blocks, from_blocks
from deploy_prune.values import Network


@dataclass(frozen=True)
class Constant:
    """What takes a constant that a layer's output lacks, channel by channel."""

    name: str
    """The name of the tensor."""
    sign: int
    """1: it is added to the output, as a bias; -1: it is taken off, as a norm's mean."""


@dataclass(frozen=True, eq=False)
class DenseMap:
    """What one dense layer (of one block) read in the uncut network."""

    weight: str
    """The name of its weight."""
    form: LayerForm
    """How it applies it."""
    values: Tensor
    """Its weight in the uncut network."""
    inverse: Tensor
    """The inverse of the inputs' second moments, with the ridge: shape (inputs, inputs), float64."""
    mean: Tensor
    """The inputs' means: shape (inputs,), float64."""
    constant: Constant | None
    """What takes the constant; None: nothing does."""

    def solve(self, kept: Indices) -> tuple[Tensor, Tensor] | None:
        """Solve for what stays: the cut weight, and the constant that its outputs then lack, (outputs,).

        None: its inputs are all there.
        """
        axes = kept.get(self.weight, {})
        of_inputs, of_outputs = (0, 1) if self.form.kind == "transposed" else (1, 0)
        if of_inputs not in axes:
            return None
        stays = torch.zeros(self.values.shape[of_inputs], dtype=torch.bool)
        stays[torch.from_numpy(axes[of_inputs])] = True
        places = self.values[0, 0].numel() if self.values.dim() > 1 else 1
        here = stays.repeat_interleave(places).to(self.inverse.device)
        k, g = here.nonzero()[:, 0], (~here).nonzero()[:, 0]
        weight = self.values
        if of_outputs in axes:
            weight = weight.index_select(of_outputs, torch.from_numpy(axes[of_outputs]).to(weight.device))
        whole = as_blocks(weight, self.form)[0].to(self.inverse)
        gone = whole[:, g]
        step = gone @ torch.linalg.solve(self.inverse[g][:, g], self.inverse[g][:, k])
        new = whole[:, k] - step
        lacking = gone @ self.mean[g] + (whole[:, k] - new) @ self.mean[k]
        shape = list(weight.shape)
        shape[of_inputs] = int(stays.sum())
        return from_blocks(new[None], self.form, shape).to(self.values), lacking.to(self.values)


def apply_maps(small: Network, kept: Indices, maps: Sequence[DenseMap]) -> None:
    """Write into a cut network what its layers' weights become.

    Args:
        small: the cut network, which is changed.
        kept: parameter -> axis -> indices of the uncut network that it has.
        maps: of the layers that read units.
    """
    tensors = {**dict(small.module.named_parameters()), **dict(small.module.named_buffers())}
    with torch.no_grad():
        for each in maps:
            solved = each.solve(kept)
            if solved is None:
                continue
            tensors[each.weight].copy_(solved[0])
            if each.constant is not None:
                tensors[each.constant.name].add_(solved[1], alpha=each.constant.sign)
