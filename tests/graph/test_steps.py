"""A forward pass that looks at its number of channels is found out, with its line, and only what it concerns locked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from building import conv, head, net
from laws import law_error, lively, random_keep
from torch import Tensor, nn
from torch.nn import functional

from deploy_prune.errors import TraceError
from deploy_prune.graph import trace
from deploy_prune.graph.soundness import find, settle
from deploy_prune.values import Network


def two(act: Callable[[Any, Tensor], Tensor]) -> Callable[[], Network]:
    """A convolution `a` of 16 channels, what is done to them, a convolution `b`, a head."""
    return lambda: net(lambda m, x: m.head(m.b(act(m, m.a(x)))), a=conv(3, 16), b=conv(16, 8), head=head(8))


def write_four(y: Tensor) -> Tensor:
    y[:, :4].mul_(2)
    return y


def repeat(m: Any, y: Tensor) -> Tensor:
    for _ in range(y.shape[1] // 4):
        y = m.c(y).relu()
    return y


TRAPS: dict[str, tuple[Callable[[], Network], dict[str, int], str]] = {
    "a slice": (
        two(lambda m, y: torch.cat([y[:, :4].relu(), y[:, 4:]], 1)), {"a#2": 12, "b": 8}, "aten.relu.default",
    ),
    "a slice in place": (two(lambda m, y: write_four(y)), {"a#2": 12, "b": 8}, "aten.mul_.Tensor"),
    "a slice from the end": (
        two(lambda m, y: torch.cat([y[:, :-4], y[:, -4:].relu()], 1)), {"a": 12, "b": 8}, "aten.relu.default",
    ),
    "a computed slice": (
        two(lambda m, y: torch.cat([y[:, : y.shape[1] // 2].relu(), y[:, y.shape[1] // 2 :]], 1)), {"b": 8},
        "aten.relu.default",
    ),
    "a branch": (two(lambda m, y: y.relu() if y.shape[1] > 12 else y), {"b": 8}, "aten.relu.default"),
    "a branch on a layer": (
        two(lambda m, y: y.relu() if m.a.out_channels > 12 else y.sigmoid()), {"b": 8}, "aten.relu.default",
    ),
    "another window": (
        two(lambda m, y: functional.max_pool2d(y, 2 if y.shape[1] > 3 else 4)), {"b": 8}, "aten.max_pool2d",
    ),
    "a branch on all elements": (two(lambda m, y: y.abs() if y.numel() > 500 else y.exp()), {"b": 8}, "aten.abs"),
    "a loop": (
        lambda: net(lambda m, x: m.head(repeat(m, m.a(x))), a=conv(3, 16), c=conv(16, 16), head=head(16)), {},
        "aten.convolution.default",
    ),
    "a shift of a computed part": (
        two(lambda m, y: torch.cat([y[:, : y.shape[1] // 8].roll(1, 2), y[:, y.shape[1] // 8 :]], 1)),
        {"a": 2, "b": 8}, "aten.roll.default",
    ),
    "a shift as far as there are channels": (
        two(lambda m, y: y.roll(y.shape[1] // 4, 2)), {"b": 8}, "aten.roll.default",
    ),
    "an offset": (two(lambda m, y: y + y.shape[1]), {"b": 8}, "aten.add.Tensor"),
}  # fmt: skip


@pytest.mark.parametrize("name", TRAPS)
def test_what_depends_on_the_number_of_channels_is_locked_with_its_line(name: str) -> None:
    make, free, where = TRAPS[name]
    network = make()
    graph = settle(network)
    assert {group.name: group.width for group in graph.free} == free
    reasons = " ".join(group.locked or "" for group in graph.groups)
    assert where in reasons
    assert "graph/test_steps.py:" in reasons
    lively(network.module)
    for seed in range(3):
        keep = random_keep(graph, seed)
        if not find(network, graph, keep):
            assert law_error(network, graph, keep) < 1e-12


def test_a_width_between_the_probes_is_found_when_it_is_asked_for() -> None:
    network = two(lambda m, y: y.relu() if y.shape[1] != 11 else y)()
    graph = trace(network)
    assert find(network, graph, {"a": tuple(range(10))}) == {}
    assert "decides by the number of channels at aten.relu" in find(network, graph, {"a": tuple(range(11))})["a"]


def test_a_rescaling_is_named_and_stays_free() -> None:
    graph = settle(two(lambda m, y: y * y.shape[1] ** -0.5)())
    assert [group.name for group in graph.free] == ["a", "b"]
    (line,) = graph.rescalings
    assert line.startswith("aten.mul.Tensor at graph/test_steps.py:")
    assert settle(two(lambda m, y: y * 0.5)()).rescalings == ()


@dataclass
class Out:
    logits: Any


def test_classes_are_locked_in_an_object_that_no_tree_walk_opens() -> None:
    graph = trace(net(lambda m, x: Out(m.l(m.a(x).mean((2, 3)))), a=conv(3, 6), l=nn.Linear(6, 5)))
    assert [group.name for group in graph.free] == ["a"]


def test_a_forward_pass_without_a_tensor_is_refused() -> None:
    with pytest.raises(TraceError, match="returns a Out in which there is no tensor"):
        trace(net(lambda m, x: Out(str(m.a(x).shape)), a=conv(3, 6)))


# --- what training alone does -----------------------------------------------------------------------------------------


def with_auxiliary(m: Any, x: Tensor) -> Tensor:
    y = m.a(x)
    z = m.head(y)
    return z + m.aux(m.deep(y).mean((2, 3))) if m.training else z


def test_a_part_that_training_alone_runs_is_cut_with_the_rest_and_costs_nothing() -> None:
    from deploy_prune.graph.surgery import cut

    network = net(with_auxiliary, a=conv(3, 6), deep=conv(6, 4), aux=nn.Linear(4, 5), head=head(6))
    graph = settle(network)
    assert [group.name for group in graph.free] == ["a", "deep"]
    assert [layer.name for layer in graph.layers] == ["a", "head.2"]
    assert [layer.name for layer in graph.training_layers] == ["deep", "aux"]
    small = cut(network, graph, {"a": (0, 2), "deep": (1,)})
    small.module.train()
    assert small.module(torch.randn(2, 3, 8, 8)).shape == (2, 5)


def test_dropout_and_norms_are_no_parts_of_training() -> None:
    network = net(
        lambda m, x: m.head(m.d(m.n(m.a(x)))), a=conv(3, 6), n=nn.BatchNorm2d(6), d=nn.Dropout(0.5), head=head(6)
    )
    assert trace(network).training_steps == ()


def test_a_size_that_training_bakes_in_is_locked() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.a(x)
        return m.head(y.view(-1, 6, 8, 8) if m.training else y)

    graph = settle(net(forward, a=conv(3, 6), head=head(6)))
    assert graph.free == ()


# --- parts that several operators want in different pieces -----------------------------------------------------------


def test_a_norm_over_groups_decides_how_a_grouped_convolution_is_cut() -> None:
    network = net(
        lambda m, x: m.head(m.b(m.n(m.a(x)))), a=conv(3, 16), n=nn.GroupNorm(4, 16), b=conv(16, 16, groups=4),
        head=head(16),
    )  # fmt: skip
    graph = settle(network)
    assert {group.name: (group.width, group.channels_per_unit) for group in graph.free} == {"a": (4, 4), "b": (4, 4)}
    from deploy_prune.graph.surgery import cut

    small = cut(network, graph, {"a": (0, 3), "b": (1, 2)})
    assert small.module(torch.randn(1, 3, 8, 8)).shape == (1, 5)
    assert small.module.get_submodule("b").groups == 4


def kernels(m: Any, x: Tensor) -> Tensor:
    """A softmax over two branches, as in SKNet, not over channels."""
    one, two = m.a(x), m.b(x)
    weights = m.fc((one + two).mean((2, 3), keepdim=True))
    weights = weights.view(len(weights), 2, weights.shape[1] // 2, 1, 1).softmax(1)
    return m.head(one * weights[:, 0] + two * weights[:, 1])


CUT_EXACTLY: dict[str, Callable[[], Network]] = {
    "softmax over branches": lambda: net(
        kernels, a=conv(3, 8), b=conv(3, 8), fc=nn.Conv2d(8, 16, 1), head=head(8)
    ),
    "largest of branches": lambda: net(
        lambda m, x: m.head(m.a(x).unflatten(1, (2, -1)).amax(1)), a=conv(3, 16), head=head(8)
    ),
    "sum over channels": lambda: net(
        lambda m, x: m.head((y := m.a(x).relu()) * y.sum(1, keepdim=True).sigmoid()), a=conv(3, 6), head=head(6)
    ),
    "unit length": lambda: net(
        lambda m, x: m.l(functional.normalize(m.n(m.a(x)).mean((2, 3)))), a=conv(3, 6), n=nn.BatchNorm2d(6),
        l=nn.Linear(6, 5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CUT_EXACTLY)
def test_what_mixes_no_channel_that_is_gone_is_free(name: str) -> None:
    network = CUT_EXACTLY[name]()
    graph = settle(network)
    assert "a" in {group.name for group in graph.free}
    lively(network.module)
    for seed in range(3):
        keep = random_keep(graph, seed)
        assert find(network, graph, keep) == {}
        assert law_error(network, graph, keep) < 1e-12


@pytest.mark.parametrize("early", [False, True])
def test_what_is_written_through_a_view_is_no_zero_of_its_base(early: bool) -> None:
    """A sum over channels of which some are 1 where their unit is gone loses them by a cut."""

    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.a(x)
        view = y[:, :, 1:]
        (y if early else y[:, :, :4]).add_(1)
        return m.head(y * (view if early else y).sum((1, 2), keepdim=True).sigmoid())

    network = net(forward, a=conv(3, 8), head=head(8))
    assert settle(network).free == ()


def test_layers_with_a_normalised_weight_are_locked_and_counted() -> None:
    from deploy_prune.pipeline.inspection import locked_share

    norm = nn.utils.parametrizations.weight_norm
    network = net(lambda m, x: m.head(m.b(m.a(x))), a=norm(conv(3, 8)), b=norm(conv(8, 4)), head=head(4))
    graph = settle(network)
    assert locked_share(graph) == 1.0
    assert [layer.positions for layer in graph.layers][:2] == [64, 64]
    assert "its weight is normalised: aten._weight_norm_interface" in (graph.groups[0].locked or "")
