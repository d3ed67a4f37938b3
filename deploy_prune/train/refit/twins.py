"""A cut network and its reference side by side: which layers can be refitted, what each reads and should give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from deploy_prune.graph.flat_layers import LayerForm, NormBehind
from deploy_prune.graph.flat_network import Tensors

NormNames = tuple[str, str]
"""The names of a batch norm's running mean and variance."""


@dataclass(frozen=True)
class RefitLayer:
    """A layer that can be refitted."""

    weight: str
    """The name of its weight."""
    form: LayerForm
    """How the cut network's layer applies it."""
    calls: int = 1
    """How often the forward pass applies it."""
    bias: str | None = None
    """The name of its bias; None: it has none."""
    owns_bias: bool = True
    """Whether nothing else reads its bias."""
    norm: NormBehind | None = None
    """The norm that it alone feeds."""
    joins: bool = False
    """Whether its output (behind its norm) is only added to a stream, which is known before it in both networks."""

    @property
    def name(self) -> str:
        """What records call it."""
        return self.weight.removesuffix(".weight") or self.weight

    @property
    def takes_shift(self) -> bool:
        """Whether a constant can be added to what it gives, channel by channel."""
        return self.norm is not None or (self.bias is not None and self.owns_bias)


@dataclass(frozen=True, eq=False)
class LayerValues:
    """What one layer reads and should give, for one batch of images."""

    calls: tuple[tuple[Tensor, Tensor], ...]
    """What the cut network's layer reads now at each call, and what the reference's gives: (images, channels, ...),
    the latter on the channels that stay."""
    lost: Tensor | None = None
    """What the stream that its output (behind its norm) is added to has lost by now: the shape of that output. None:
    it joins no stream."""


class Twins(Protocol):
    """Both networks, walked front to back."""

    @property
    def layers(self) -> tuple[RefitLayer, ...]:
        """The layers that can be refitted, in the order in which they are called first."""

    @property
    def left_out(self) -> Mapping[str, str]:
        """The weights of layers that cannot be refitted -> the reason."""

    def rewind(self) -> None:
        """Begin at the images again, and let go of all that was computed."""

    def norms_between(self, before: RefitLayer | None, behind: RefitLayer | None) -> Sequence[NormNames]:
        """Name the statistics of the norms between the first calls of two layers; None: the network's ends."""

    def read_norm(self, norm: NormNames, tensors: Tensors) -> Callable[[int], Tensor]:
        """Prepare to read what a norm reads in the cut network: a batch's number -> (images, channels, ...)."""

    def read(self, layer: RefitLayer, tensors: Tensors) -> Callable[[int], LayerValues]:
        """Prepare to read one layer's values; what lies before it must be final.

        Args:
            layer: one of `layers`, never one before a layer that was read already.
            tensors: the cut network's tensors by name, as they are from here on.

        Returns:
            The number of a batch -> its values.
        """


def kept_outputs(form: LayerForm, shape: tuple[int, ...], kept: Mapping[int, np.ndarray]) -> Tensor | None:
    """Which output channels of the reference's layer the cut one has: int64 (channels,); None: all.

    Args:
        form: how the reference's layer applies its weight.
        shape: the shape of the reference's weight.
        kept: axis -> indices that stay, of the axes of the weight that lose some.
    """
    if form.kind != "transposed":
        return torch.from_numpy(kept[0]) if 0 in kept else None
    if not {0, 1} & set(kept):
        return None
    inputs_of_group, outputs_of_group = shape[0] // form.groups, shape[1]
    groups = np.unique(kept.get(0, np.arange(shape[0])) // inputs_of_group)
    outputs = kept.get(1, np.arange(outputs_of_group))
    return torch.from_numpy((groups[:, None] * outputs_of_group + outputs).ravel())
