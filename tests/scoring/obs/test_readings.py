"""What layers read is measured as it is: against the network's own modules, position by position."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from building import conv, head, net
from torch import nn

from deploy_prune.graph import trace
from deploy_prune.scoring.obs.flat_readers import FlatReaders
from deploy_prune.scoring.obs.hooked_readers import HookedReaders
from deploy_prune.scoring.obs.readings import Sampling, measure_readings

EVERYWHERE = Sampling(batch_size=4, positions=10_000)


def _forward(m, x):
    y = m.norm(m.a(x)).relu()
    z = m.behind(m.project(m.depthwise(m.expand(y).relu()).relu())) + y
    return m.head(z)


@pytest.fixture(scope="module")
def network():
    """A stream that one inverted residual reads and writes, and a linear head."""
    built = net(
        _forward, a=conv(3, 6), norm=nn.BatchNorm2d(6), expand=conv(6, 10, 1), depthwise=conv(10, 10, groups=10),
        project=conv(10, 6, 1), behind=nn.BatchNorm2d(6), head=head(6),
    )  # fmt: skip
    torch.manual_seed(1)
    for norm in (built.module.norm, built.module.behind):
        nn.init.uniform_(norm.weight, 0.5, 2.0)
        nn.init.uniform_(norm.running_var, 0.5, 2.0)
    return built


@pytest.fixture(scope="module")
def images(network):
    return torch.randn((8, *network.input_shape), generator=torch.Generator().manual_seed(0))


def seen(network, images, name, *, given):
    """What a module reads (or gives), channels last, as float64 rows."""
    kept = []
    part = network.module.get_submodule(name)
    handle = part.register_forward_hook(lambda _, inputs, result: kept.append(inputs[0] if given else result))
    with torch.no_grad():
        network.module.eval()(images)
    handle.remove()
    return kept[0].movedim(1, -1).reshape(-1, kept[0].shape[1]).double()


def test_every_group_is_read_by_the_layers_behind_it(network, images):
    readings = measure_readings(network, trace(network), images, EVERYWHERE)
    assert {name: len(each) for name, each in readings.items()} == {"a": 2, "expand": 1}


def test_moments_are_those_of_what_the_layer_reads(network, images):
    quarters = dataclasses.replace(EVERYWHERE, batch_size=2)
    (reading,) = measure_readings(network, trace(network), images, quarters)["expand"]
    rows, held_out = (seen(network, part, "project", given=True) for part in (images[:6], images[6:]))
    torch.testing.assert_close(reading.products[0], torch.cov(rows.T, correction=0), rtol=1e-4, atol=1e-6)
    around = held_out - rows.mean(0)  # every fourth batch judges, by the means of the others
    torch.testing.assert_close(reading.judged[0], around.T @ around / len(around), rtol=1e-4, atol=1e-6)
    assert reading.columns.tolist() == [[unit] for unit in range(10)]


def test_errors_count_behind_the_norm_and_in_the_stream(network, images):
    (reading,) = measure_readings(network, trace(network), images, EVERYWHERE)["expand"]
    norm = network.module.behind
    slope = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach().double()
    weight = network.module.project.weight.detach().double().flatten(1)
    torch.testing.assert_close(reading.weight[0], slope[:, None] * weight, rtol=1e-5, atol=1e-7)
    stream = seen(network, images, "head", given=True)
    assert reading.variance == pytest.approx(float(stream.var(0).sum()), rel=1e-4)


def test_without_a_stream_errors_count_right_behind_the_norm(images):
    """Not behind the activation: that throws away what is below 0."""
    torch.manual_seed(2)
    network = net(
        lambda m, x: m.head(m.norm(m.b(m.a(x))).relu()), a=conv(3, 6), b=conv(6, 5, 1), norm=nn.BatchNorm2d(5),
        head=head(5),
    )  # fmt: skip
    nn.init.uniform_(network.module.norm.bias, -2.0, -1.0)
    (reading,) = measure_readings(network, trace(network), images, EVERYWHERE)["a"]
    assert reading.variance == pytest.approx(float(seen(network, images, "norm", given=False).var(0).sum()))


def test_a_layer_that_reads_two_groups_has_its_moments_measured_once(images):
    network = net(
        lambda m, x: m.head(m.c(torch.cat([m.a(x), m.b(x)], 1)).relu()), a=conv(3, 6), b=conv(3, 5), c=conv(11, 7, 1),
        head=head(7),
    )  # fmt: skip
    readings = measure_readings(network, trace(network), images, EVERYWHERE)
    (one,), (other,) = readings["a"], readings["b"]
    assert one.products is other.products
    assert one.columns.flatten().tolist() == list(range(6))
    assert other.columns.flatten().tolist() == list(range(6, 11))


def test_hooks_on_modules_see_what_the_written_down_network_sees(network, images):
    """But for the stream that the projection's output is added to, which they do not know."""
    graph, batches = trace(network), [images[:4], images[4:]]
    flat, hooked = (kind(network, graph, batches) for kind in (FlatReaders, HookedReaders))
    assert [each.weight for each in flat.readers] == [each.weight for each in hooked.readers]
    for one, other in zip(flat.readers, hooked.readers, strict=True):
        assert one.form == other.form
        assert (one.slope is None) == (other.slope is None)
        seen, again = flat.watch(one)(1), hooked.watch(other)(1)
        for pair, same in zip(seen.calls, again.calls, strict=True):
            torch.testing.assert_close(pair, same)
        if one.weight != "project.weight":
            torch.testing.assert_close(seen.landed, again.landed)


@pytest.mark.heavy
def test_positions_are_drawn_by_the_seed(network, images):
    graph = trace(network)
    few = Sampling(batch_size=4, positions=2)
    one, again, other = (
        measure_readings(network, graph, images, sampling)["expand"][0].products
        for sampling in (few, few, dataclasses.replace(few, seed=1))
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
