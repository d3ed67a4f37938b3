"""A network from named layers and a function, in one expression."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deploy_prune import plugins
from deploy_prune.exporting.exporters import PLAIN
from deploy_prune.exporting.one_format import FormatJob, Written, check, write
from deploy_prune.exporting.parity.reference import answer, make_questions
from deploy_prune.values import AppForm, Network, Precision, Shipment

CLASSES = 5


class Net(nn.Module):
    """Named layers and a forward pass given as a function of the module and its inputs."""

    def __init__(self, forward: Callable[..., Any], layers: dict[str, Any]) -> None:
        super().__init__()
        self.run = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, *inputs: Tensor) -> Any:
        return self.run(self, *inputs)


def net(forward: Callable[..., Any], *shapes: tuple[int, ...], **layers: Any) -> Network:
    """A network of `layers` (attributes of the first argument of `forward`), in eval mode; 3x8x8 input by default."""
    torch.manual_seed(0)
    return Network("tests:net", Net(forward, layers).eval(), shapes or ((3, 8, 8),), CLASSES)


def conv(inputs: int, outputs: int, size: int = 3, **options: Any) -> nn.Conv2d:
    options.setdefault("padding", size // 2)
    return nn.Conv2d(inputs, outputs, size, **options)


def head(inputs: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, CLASSES))


def delivered(
    network: Network, target: str, folder: Path, *, images: Any = None, form: AppForm = PLAIN,
    precision: Precision = "fp32", **options: Any
) -> Shipment:  # fmt: skip
    """One format of a network, written and run in this process: what `export` does in one of its own."""
    exporter = plugins.build("exporters", target, options)
    job = FormatJob(target, exporter, folder / f"model{exporter.suffix}", precision)
    questions = make_questions(network, images, form)
    row = write(questions, job)
    return check(answer(questions), Written(job, row)) if row.artifact else row


def interrupted_delegation() -> Network:
    """A running sum, which XNNPACK does not have, between convolutions, which it has."""
    return net(
        lambda self, x: self.head(self.second(torch.cumsum(self.first(x), 1))),
        first=conv(3, 4), second=conv(4, 4), head=head(4),
    )  # fmt: skip
