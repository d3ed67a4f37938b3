"""A tiny network with odd widths and a non-square input."""

from __future__ import annotations

from deploy_prune.values import Network

TINY_SHAPE = (3, 16, 24)
TINY_CLASSES = 5


def conv_network(width: int, *, seed: int = 0, shape: tuple[int, int, int] = TINY_SHAPE) -> Network:
    """Convolution, batch norm with lived-in statistics, depthwise convolution, linear; in training mode."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU6(),
        nn.Conv2d(width, width, 3, padding=1, groups=width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, TINY_CLASSES),
    )
    with torch.no_grad():
        module.train()(torch.randn(8, *shape))
    return Network("tests:conv_network", module, (shape,), TINY_CLASSES)


def two_outputs(width: int) -> Network:
    """The same with a second output, a map of one channel (1, 16, 24), beside the scores."""
    import dataclasses

    import torch
    from torch import Tensor, nn

    network = conv_network(width)

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = list(network.module.children())
            self.body, self.scores = nn.Sequential(*layers[:5]), nn.Sequential(*layers[5:])
            self.map = nn.Conv2d(width, 1, 1)

        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            features = self.body(images)
            return self.scores(features), self.map(features)

    torch.manual_seed(1)
    return dataclasses.replace(network, address="tests:two_outputs", module=Two())
