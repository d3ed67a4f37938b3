"""A cut that computes something else is refused; what follows the widths by right is held."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from building import conv, head, net
from laws import halves, lively
from torch import Tensor, nn

from deploy_prune.errors import TraceError
from deploy_prune.graph import trace
from deploy_prune.graph.law import check_law
from deploy_prune.graph.surgery import cut
from deploy_prune.values import Network

LAWFUL = {
    "a chain": lambda: net(lambda m, x: m.head(m.b(m.a(x).relu())), a=conv(3, 6), b=conv(6, 4), head=head(4)),
    "a norm over groups": lambda: net(
        lambda m, x: m.head(m.b(m.n(m.a(x)))), a=conv(3, 8), n=nn.GroupNorm(2, 8), b=conv(8, 4), head=head(4)
    ),
    "a norm over channels": lambda: net(
        lambda m, x: m.l(m.n(m.a(x).mean((2, 3)))), a=conv(3, 8), n=nn.LayerNorm(8), l=nn.Linear(8, 5)
    ),
    "a norm without a scale": lambda: net(
        lambda m, x: m.head(m.n(m.a(x))), a=conv(3, 8), n=nn.GroupNorm(2, 8, affine=False), head=head(8)
    ),
    "a rescaling": lambda: net(lambda m, x: m.head(m.a(x) * m.a(x).shape[1] ** -0.5), a=conv(3, 6), head=head(6)),
    "a rescaling by a tensor": lambda: net(
        lambda m, x: m.head((y := m.a(x)) / torch.tensor(float(y.shape[1]))), a=conv(3, 6), head=head(6)
    ),
    "single precision alone": lambda: net(lambda m, x: m.head(m.a(x.float()).float()), a=conv(3, 6), head=head(6)),
}


@pytest.mark.parametrize("name", LAWFUL)
def test_a_sound_cut_obeys_the_law_to_rounding(name: str) -> None:
    network: Network = LAWFUL[name]()
    lively(network.module).float()
    graph = trace(network)
    keep = halves(graph)
    error = check_law(network, graph, keep, cut(network, graph, keep))
    assert error is not None
    assert error < (1e-5 if "single" in name else 1e-12)


def test_another_network_is_refused() -> None:
    network = net(
        lambda m, x: m.head(torch.cat([(y := m.a(x))[:, :4].relu(), y[:, 4:]], 1)), a=conv(3, 16), head=head(16)
    )
    lively(network.module)
    graph = trace(network)
    keep = halves(graph)
    with pytest.raises(TraceError, match="computes something else"):
        check_law(network, graph, keep, cut(network, graph, keep))


def test_of_a_network_that_answers_at_random_nothing_is_said() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        return m.head(nn.functional.dropout(m.a(x), 0.5, training=True))

    network = net(forward, a=conv(3, 8), head=head(8))
    graph = trace(network)
    assert check_law(network, graph, halves(graph), cut(network, graph, halves(graph))) is None


def test_checking_leaves_networks_and_generator_alone() -> None:
    network = LAWFUL["a chain"]()
    graph = trace(network)
    small = cut(network, graph, halves(graph))
    small.module.train()
    state = torch.get_rng_state()
    before = {name: tensor.clone() for name, tensor in network.module.state_dict().items()}
    check_law(network, graph, halves(graph), small)
    assert torch.equal(state, torch.get_rng_state())
    assert small.module.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.module.state_dict().items())
