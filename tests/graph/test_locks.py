"""What cannot be cut is locked with the operator and the source line, and never a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from building import conv, head, net
from torch import Tensor, nn
from torch.nn import functional

from deploy_prune.errors import TraceError
from deploy_prune.graph import trace
from deploy_prune.values import Network


def reason(network: Network, name: str = "a") -> str | None:
    return next(group.locked for group in trace(network).groups if group.name == name)


def _attention(m: Any, x: Tensor) -> Tensor:
    tokens = m.a(x).flatten(2).transpose(1, 2)
    query, key, value = m.b(tokens).chunk(3, -1)
    return m.l(torch.bmm(torch.softmax(torch.bmm(query, key.transpose(1, 2)), -1), value).mean(1))


def _einsum(m: Any, x: Tensor) -> Tensor:
    return m.l(torch.einsum("nchw,ndhw->ncd", m.a(x), m.b(x)).flatten(1))


LOCKS: dict[str, tuple[Callable[[], Network], str, str]] = {
    "softmax over channels": (
        lambda: net(lambda m, x: m.head(m.a(x).softmax(1)), a=conv(3, 6), head=head(6)),
        "a", "normalised over channels by aten._softmax.default",
    ),
    "mean over channels": (
        lambda: net(lambda m, x: m.head((y := m.a(x)) * y.mean(1, keepdim=True)), a=conv(3, 6), head=head(6)),
        "a", "reduced over channels by aten.mean.dim",
    ),
    "max over channels": (
        lambda: net(lambda m, x: m.head((y := m.a(x)) * y.max(1, keepdim=True)[0]), a=conv(3, 6), head=head(6)),
        "a", "reduced over channels by aten.max.dim",
    ),
    "cumulative sum": (
        lambda: net(lambda m, x: m.head(m.a(x).cumsum(-3)), a=conv(3, 6), head=head(6)),
        "a", "reduced over channels by aten.cumsum.default",
    ),
    "sum over channels that are not zero when they are gone": (
        lambda: net(lambda m, x: m.head((y := m.a(x)) * y.sigmoid().sum(1, keepdim=True)), a=conv(3, 6), head=head(6)),
        "a", "reduced over channels by aten.sum.dim_IntList",
    ),
    "sorted channels": (
        lambda: net(lambda m, x: m.l(m.a(x).mean((2, 3)).topk(3, 1)[0]), a=conv(3, 6), l=nn.Linear(3, 5)),
        "a", "operator not known: aten.topk.default",
    ),
    "attention": (
        lambda: net(_attention, a=conv(3, 4), b=nn.Linear(4, 12), l=nn.Linear(4, 5)),
        "b", "operator not known: aten.bmm.default",
    ),
    "einsum": (
        lambda: net(_einsum, a=conv(3, 4), b=conv(3, 4), l=nn.Linear(16, 5)),
        "a", "operator not known: aten.bmm.default",
    ),
    "norm over a whole image": (
        lambda: net(lambda m, x: m.head(m.n(m.a(x))), a=conv(3, 6), n=nn.LayerNorm((6, 8, 8)), head=head(6)),
        "a", "operator not known: aten.native_layer_norm.default",
    ),
    "computed weight": (
        lambda: net(lambda m, x: m.head(functional.conv2d(m.a(x), m.b.weight * 2)), a=conv(3, 6), b=conv(6, 4),
                    head=head(4)),
        "a", "its weight is computed, not a parameter: aten.convolution.default",
    ),
    "constant per channel": (
        lambda: net(lambda m, x: m.head(m.a(x) * torch.arange(6).view(1, 6, 1, 1)), a=conv(3, 6), head=head(6)),
        "a", "tied to fixed content by aten.mul.Tensor",
    ),
    "a channel broadcast over the others": (
        lambda: net(lambda m, x: m.head((y := m.a(x)) * y[:, :1]), a=conv(3, 6), head=head(6)),
        "a", "picked and broadcast by aten.mul.Tensor",
    ),
    "position embedding": (
        lambda: net(lambda m, x: m.head(m.a(x) + m.p), a=conv(3, 6), p=nn.Parameter(torch.randn(6, 8, 8)),
                    head=head(6)),
        "a", "tied to fixed content by aten.add.Tensor",
    ),
    "crossed with itself": (
        lambda: net(lambda m, x: m.l(((y := m.a(x).mean((2, 3)))[:, :, None] * y[:, None, :]).flatten(1)),
                    a=conv(3, 4), l=nn.Linear(16, 5)),
        "a", "crossed with another axis by aten.mul.Tensor",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_the_operator_and_the_line(name: str) -> None:
    make, group, expected = LOCKS[name]
    found = reason(make(), group)
    assert found is not None
    assert found.startswith(f"{expected} at ")
    assert "graph/test_locks.py:" in found


@pytest.fixture
def mystery() -> Iterator[Callable[[Tensor], Tensor]]:
    """An operator that nobody has taught: it turns the channels round."""
    library = torch.library.Library("mystery", "FRAGMENT")
    library.define("turn(Tensor x) -> Tensor")
    library.impl("turn", lambda x: x.flip(1), "CompositeExplicitAutograd")
    yield torch.ops.mystery.turn
    library._destroy()


def test_an_unknown_operator_locks_what_it_reads_and_nothing_else(mystery: Callable[[Tensor], Tensor]) -> None:
    network = net(
        lambda m, x: m.head(m.c(mystery(m.b(m.a(x))))), a=conv(3, 7), b=conv(7, 6), c=conv(6, 4), head=head(4)
    )
    assert [group.name for group in trace(network).free] == ["a", "c"]
    found = reason(network, "b")
    assert found is not None
    assert found.startswith("operator not known: mystery.turn.default at graph/test_locks.py:")


def test_a_padded_channel_locks_the_columns_that_read_zeros_but_not_the_others() -> None:
    network = net(
        lambda m, x: m.head(m.b(functional.pad(m.a(x), (0, 0, 0, 0, 1, 1)))), a=conv(3, 6), b=conv(8, 4), head=head(4)
    )
    locked = {group.name: group.width for group in trace(network).groups if group.locked}
    assert locked["b.input"] == 2
    assert [group.name for group in trace(network).free] == ["a", "b"]


def test_a_branch_on_a_value_is_refused_with_its_line() -> None:
    network = net(lambda m, x: m.head(x if x.sum() > 0 else -x), head=head(3))
    with pytest.raises(TraceError, match="cannot be run") as caught:
        trace(network)
    assert "graph/test_locks.py:" in caught.value.hint


def test_a_forward_that_fails_is_refused_with_its_line() -> None:
    network = net(lambda m, x: m.b(m.a(x)), a=conv(3, 6), b=conv(5, 4))
    with pytest.raises(TraceError, match="Invalid channel dimensions") as caught:
        trace(network)
    assert "aten.convolution.default at graph/test_locks.py:" in caught.value.hint


def test_a_module_that_cannot_be_copied_is_refused() -> None:
    class Handle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = conv(3, 6)
            self.lock = __import__("threading").Lock()

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x)

    with pytest.raises(TraceError, match="cannot be copied"):
        trace(Network("tests:handle", Handle(), ((3, 8, 8),), 5))


def test_tracing_leaves_the_network_and_the_generator_alone() -> None:
    network = net(lambda m, x: m.head(m.n(m.a(x))), a=conv(3, 6), n=nn.BatchNorm2d(6), head=head(6))
    network.module.train()
    before = {name: tensor.clone() for name, tensor in network.module.state_dict().items()}
    state = torch.get_rng_state()
    trace(network)
    assert network.module.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.module.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_a_write_through_a_view_locks_its_base_and_what_is_written() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        canvas = torch.zeros(x.shape[0], 6, 8, 8, device=x.device)
        canvas[:, :4] = m.a(x)
        canvas[:, 4:] = m.b(x)
        return m.head(canvas)

    network = net(forward, a=conv(3, 4), b=conv(3, 2), head=head(6))
    for name in ("a", "b"):
        assert (reason(network, name) or "").startswith("written through a view by aten.copy_.default at graph/")
    assert not trace(network).free


def test_a_write_through_detach_is_a_write_through_a_view() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        canvas = torch.zeros(x.shape[0], 6, 8, 8, device=x.device)
        canvas.detach().copy_(m.a(x))
        return m.head(m.b(canvas))

    network = net(forward, a=conv(3, 6), b=conv(6, 4), head=head(4))
    assert [group.name for group in trace(network).free] == ["b"]


def test_an_in_place_operator_through_a_view_that_moves_nothing_locks_nothing() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.a(x)
        y.flatten(1).relu_()
        y.flatten(2).add_(m.b(x).flatten(2))
        return m.head(y)

    network = net(forward, a=conv(3, 6), b=conv(3, 6), head=head(6))
    assert [(group.name, group.width) for group in trace(network).free] == [("a", 6)]
