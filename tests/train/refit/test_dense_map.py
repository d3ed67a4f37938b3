"""What layers become when inputs go: the least-squares weights, on what is left, with the constant made good."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deploy_prune.graph import trace
from deploy_prune.graph.surgery import cut, kept_indices
from deploy_prune.scoring.obs.maps import measure_maps
from deploy_prune.scoring.obs.readings import Sampling
from deploy_prune.train.refit.dense_map import apply_maps
from deploy_prune.values import Network

KEPT = (0, 2, 3)
IMAGES, FITTED = 256, 192
SAMPLING = Sampling(batch_size=64, positions=10_000)  # every fourth batch judges


class Chain(nn.Module):
    """What is cut, and what reads it: with a bias, or a norm behind it, or neither."""

    def __init__(self, reader: nn.Module, behind: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.reader, self.behind = nn.Conv2d(3, 6, 1), reader, behind or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.behind(self.reader(torch.relu(self.first(x))))
        return out.flatten(1)


with torch.random.fork_rng():  # whatever was imported before
    torch.manual_seed(0)
    READERS = [
        pytest.param(Chain(nn.Conv2d(6, 4, 1)), id="a bias"),
        pytest.param(Chain(nn.Conv2d(6, 4, 3, padding=1, stride=2)), id="a kernel of 3 x 3"),
        pytest.param(Chain(nn.Conv2d(6, 4, 1, bias=False), nn.BatchNorm2d(4)), id="a norm behind it"),
        pytest.param(Chain(nn.ConvTranspose2d(6, 4, 2, stride=2)), id="transposed"),
        pytest.param(Chain(nn.Flatten(), nn.Linear(6 * 16, 4)), id="a linear layer after a flatten"),
    ]


def draw_images() -> Tensor:
    return torch.randn(IMAGES, 3, 4, 4, generator=torch.Generator().manual_seed(1))


def cut_and_mapped(module: nn.Module, *, ridge: float = 1e-9) -> tuple[Tensor, Tensor, Tensor]:
    """What the dense network gives on the calibration images, the cut one, and the cut and mapped one."""
    network = Network("chain", module.eval(), ((3, 4, 4),))
    images = draw_images()
    graph = trace(network)
    (group,) = [each for each in graph.free if "first.weight" in {member.parameter for member in each.members}]
    keep = {group.name: KEPT}
    maps = measure_maps(network, graph, images, SAMPLING, ridge=ridge)
    plain, mapped = (cut(network, graph, keep) for _ in range(2))
    apply_maps(mapped, kept_indices(graph, keep), maps)
    with torch.no_grad():
        return module(images), plain.module(images), mapped.module(images)


@pytest.mark.parametrize("module", READERS)
def test_what_goes_is_made_up_for_where_what_stays_tells_it(module: Chain) -> None:
    torch.manual_seed(0)
    with torch.no_grad():  # units 1, 4 and 5 are those that stay, or no more than a constant
        module.first.weight[1], module.first.bias[1] = 2 * module.first.weight[0], 2 * module.first.bias[0]
        module.first.weight[4], module.first.bias[4] = module.first.weight[3], module.first.bias[3]
        module.first.weight[5], module.first.bias[5] = 0, 1.5
    dense, plain, mapped = cut_and_mapped(module)
    assert float((plain - dense).abs().max()) > 1e-2
    places = getattr(module.reader, "kernel_size", (1,))[0]
    if places == 1:
        assert torch.allclose(mapped, dense, atol=1e-4)
    else:  # what a kernel reads beside the image, or between its places, is no constant
        assert float((mapped - dense).square().mean()) < 0.2 * float((plain - dense).square().mean())


def test_a_map_is_the_least_squares_fit_on_its_own_images() -> None:
    torch.manual_seed(0)
    module = Chain(nn.Conv2d(6, 4, 1))
    dense, _, mapped = cut_and_mapped(module)
    with torch.no_grad():
        read = (
            torch.relu(module.first(draw_images()[:FITTED]))
            .movedim(1, -1)
            .reshape(-1, 6)[:, list(KEPT)]
            .double()
            .numpy()
        )
    wanted = dense[:FITTED].reshape(FITTED, 4, -1).movedim(1, -1).reshape(-1, 4).double().numpy()
    columns = np.hstack([read, np.ones((len(read), 1))])
    fitted = columns @ np.linalg.lstsq(columns, wanted, rcond=None)[0]
    given = mapped[:FITTED].reshape(FITTED, 4, -1).movedim(1, -1).reshape(-1, 4).double().numpy()
    assert np.abs(given - fitted).max() < 1e-4


def test_a_large_ridge_leaves_weights_as_they_were() -> None:
    torch.manual_seed(0)
    module = Chain(nn.Conv2d(6, 4, 1, bias=False))  # nothing takes a constant
    _, plain, mapped = cut_and_mapped(module, ridge=1e9)
    assert torch.allclose(mapped, plain, atol=1e-5)


def test_outputs_that_go_as_well_are_left_out() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU(), nn.Conv2d(6, 5, 1), nn.ReLU(), nn.Conv2d(5, 2, 1)).eval()
    network = Network("chain", module, ((3, 4, 4),))
    images = draw_images()
    graph = trace(network)
    keep = {group.name: tuple(range(3)) for group in graph.free}
    maps = {each.weight: each for each in measure_maps(network, graph, images, SAMPLING, ridge=1e-9)}
    kept = kept_indices(graph, keep)
    whole = maps["2.weight"].solve({"2.weight": {1: kept["2.weight"][1]}})
    part = maps["2.weight"].solve(kept)
    assert whole is not None and part is not None
    assert torch.equal(part[0], whole[0][:3]) and torch.equal(part[1], whole[1][:3])
