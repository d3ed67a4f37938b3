"""A network written down computes what it computes, and none of its operators writes into what it reads."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._ops import OpOverload

from deploy_prune.graph.written_down import BATCH_NORM, replace_in_place, write_down
from deploy_prune.values import Network

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.export's own calls


class Body(nn.Module):
    """A convolution, a norm, and a forward of one's own."""

    def __init__(self, forward: Callable[[Body, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.bn, self.way = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), forward

    def forward(self, x: Tensor) -> Tensor:
        """Go one's own way."""
        return self.way(self, x)


def chain(body: Body, x: Tensor) -> Tensor:
    """An addition and an activation in place, after which the first tensor's name is read again."""
    first = body.conv(x)
    second = F.relu_(first.add_(body.conv(x)))
    return first + second


def norm_in_place(body: Body, x: Tensor) -> Tensor:
    """The usual: norm, then an activation in place."""
    return F.hardtanh_(body.bn(body.conv(x)), 0.0, 6.0)


def read_before(body: Body, x: Tensor) -> Tensor:
    """What was read before it is written into stays as it was."""
    first = body.conv(x)
    twice = first * 2
    return first.relu_() + twice


def view_between(body: Body, x: Tensor) -> Tensor:
    """A view looks at memory that is written into later."""
    first = body.conv(x)
    second = first.add_(1)
    part = first[:, :2]
    F.relu_(second)
    return part.mean() + second


def slice_in_place(body: Body, x: Tensor) -> Tensor:
    """A part of a tensor is written into, and the whole is read."""
    first = body.conv(x)
    first[:, 1:].relu_()
    return first


def after_dropout(body: Body, x: Tensor) -> Tensor:
    """Dropout gives what it reads, here: both names are one tensor."""
    first = body.conv(x)
    F.relu_(F.dropout(first, training=False))
    return first


def statistics_written(body: Body, x: Tensor) -> Tensor:
    """A norm that goes on counting in evaluation mode."""
    return F.batch_norm(body.conv(x), body.bn.running_mean, body.bn.running_var, training=True)


FAST = (chain, norm_in_place, read_before)
SLOW = (view_between, slice_in_place, after_dropout, statistics_written)


def network_of(way: Callable[[Body, Tensor], Tensor]) -> Network:
    torch.manual_seed(0)
    return Network("test", Body(way), ((3, 8, 8),), classes=None)


@pytest.mark.parametrize("way", [*FAST, *SLOW], ids=lambda way: way.__name__)
def test_it_computes_the_same_and_writes_into_nothing(way: Callable[[Body, Tensor], Tensor]) -> None:
    network = network_of(way)
    image = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    program = write_down(network, image)
    written = [
        node.target
        for node in program.graph.nodes
        if isinstance(node.target, OpOverload) and node.target._schema.is_mutable
        if node.args[0].op != "get_attr"
    ]
    assert not written, "but into the statistics of a norm that counts"
    with torch.no_grad():
        wanted = copy.deepcopy(network.module).eval()(image.clone())
        assert torch.equal(program(image.clone()), wanted)


@pytest.mark.parametrize("way", [*FAST, *SLOW], ids=lambda way: way.__name__)
def test_what_cannot_be_told_from_the_operators_is_left_to_torch(way: Callable[[Body, Tensor], Tensor]) -> None:
    exported = torch.export.export(network_of(way).module.eval(), (torch.zeros(2, 3, 8, 8),))
    assert replace_in_place(exported.module(check_guards=False)) == (way in FAST)


def test_a_norm_is_one_operator_whoever_replaced_what_is_written_into() -> None:
    def both(body: Body, x: Tensor) -> Tensor:
        first = body.bn(body.conv(x))
        first[:, 1:].relu_()
        return first

    program = write_down(network_of(both), torch.zeros(2, 3, 8, 8))
    (norm,) = program.graph.find_nodes(op="call_function", target=BATCH_NORM)
    assert norm.args[5] is False
    assert norm.meta["val"].shape == (2, 4, 6, 6)
