"""Norms with other statistics compute the same in evaluation mode, and then in training mode, too."""

from __future__ import annotations

import torch
from laws import lively
from torch import Tensor, nn

from deploy_prune.train.refit.norms import measure_statistics, reexpress_norms
from deploy_prune.values import Network


class Stack(nn.Module):
    """Three norms: an ordinary one, one that is called twice, and one without a scale."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 1), nn.Conv2d(6, 4, 1)
        self.own, self.twice, self.plain = nn.BatchNorm2d(6), nn.BatchNorm2d(6), nn.BatchNorm2d(4, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """One after the other."""
        x = self.own(self.a(x)).relu()
        return self.plain(self.c(self.twice(self.b(self.twice(self.b(x))))))


def stack() -> Network:
    return Network("test", lively(Stack()).float(), ((3, 8, 8),), classes=None)


def images(count: int = 60) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 3 + 1


def test_statistics_are_those_of_all_images_together() -> None:
    values = images()
    mean, variance = measure_statistics(lambda number: values.split(20)[number], range(3))
    rows = values.double().transpose(0, 1).flatten(1)
    assert torch.allclose(mean, rows.mean(1))
    assert torch.allclose(variance, rows.var(1))


def test_the_function_stays_and_what_others_share_is_left_alone() -> None:
    network = stack()
    renewed = reexpress_norms(network, images())
    with torch.no_grad():
        before, after = (each.module.eval()(images(9)) for each in (network, renewed))
    assert torch.allclose(before, after, atol=1e-5 * float(before.abs().max()))
    old, new = network.module.state_dict(), renewed.module.state_dict()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed == {f"own.{name}" for name in ("weight", "bias", "running_mean", "running_var")}


def test_training_mode_starts_from_the_same_function() -> None:
    network = Network("test", lively(nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6))).float(), ((3, 8, 8),), None)
    batch = images(50)

    def both(module: nn.Module) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return module.eval()(batch), module.train()(batch)

    apart, together = both(network.module), both(reexpress_norms(network, batch).module)
    scale = float(apart[0].abs().max())
    assert float((apart[0] - apart[1]).abs().max()) > 0.1 * scale
    assert torch.allclose(*together, atol=1e-3 * scale)  # batches divide by the biased variance
