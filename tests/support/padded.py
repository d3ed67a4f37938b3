"""Zero padding by itself, and a convolution behind it that pads by nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from deploy_prune import plugins
from deploy_prune.values import Network

Pads = tuple[int, int, int, int]
"""Left, right, top, bottom."""


class Padded(nn.Module):
    """The padding is an output as well where it is to be `seen`."""

    def __init__(self, pads: Pads, conv: nn.Conv2d, *, seen: bool = False) -> None:
        super().__init__()
        self.conv, self.pads, self.seen = conv, pads, seen

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        padded = functional.pad(x, self.pads)
        out: Tensor = self.conv(padded)
        return (out, padded * 2) if self.seen else out


def write(module: nn.Module, name: str, path: Path, side: int = 16) -> float:
    """Export in a format, and give the largest error of the file's first output on that format's runtime."""
    torch.manual_seed(0)
    exporter = plugins.build("exporters", name)
    exporter.write(Network("padded", module.eval(), ((3, side, side),)), path)
    image = torch.randn(1, 3, side, side)
    with torch.no_grad():
        wanted = module(image)
    session = plugins.build("runtimes", exporter.runtime).open(path, threads=1)
    last = session.inputs[0].shape[-1] == 3
    given = session.run(image.permute(0, 2, 3, 1).numpy() if last else image.numpy())[0]
    out = (wanted[0] if isinstance(wanted, tuple) else wanted).numpy()
    assert given.size == out.size
    same_layout = out if given.shape == out.shape else out.transpose(0, 2, 3, 1)
    return float(np.abs(same_layout - given).max())
