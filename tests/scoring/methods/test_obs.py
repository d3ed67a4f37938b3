"""OBS: what a budget takes where some units are worth nothing, without labels; and what it cannot do, it says."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from building import conv, head, net
from studies import study

from deploy_prune import plugins
from deploy_prune.budget.allocate import allocate
from deploy_prune.budget.widths import Limits
from deploy_prune.errors import ConfigError, Diverged, TraceError
from deploy_prune.graph.flat_network import flatten
from deploy_prune.scoring.methods.obs import Obs
from deploy_prune.scoring.scores_file import read_scores, save_scores
from deploy_prune.scoring.study import Study
from deploy_prune.scoring.top_units import best_units


def _forward(m, x):
    return m.head(m.b(m.a(x).relu()).relu())


def with_doubles():
    """Half of `a`'s filters are doubles of the others, which what reads them can do without."""
    network = net(_forward, a=conv(3, 12), b=conv(12, 12), head=head(12))
    with torch.no_grad():
        network.module.a.weight[6:] = network.module.a.weight[:6]
        network.module.a.bias[6:] = network.module.a.bias[:6]
    return network


def test_doubles_go_first_and_one_of_each_pair_stays():
    of = study(with_doubles())
    scores = Obs(images=64).score(of)
    macs = plugins.build("costs", "macs").model(of.graph)
    widths = allocate(of.graph, scores, macs, 0.6 * float(macs(np.array([12, 12]))), Limits())
    kept = best_units(scores, widths)
    assert widths["a"] <= 8 < widths["b"]
    assert {unit % 6 for unit in kept["a"]} == set(range(6))


def test_scores_add_up_and_stay_so_on_disk(tmp_path):
    of = study(with_doubles())
    scores = Obs(images=32).score(of)
    assert scores.additive
    save_scores(scores, tmp_path / "scores.safetensors")
    again = read_scores(tmp_path / "scores.safetensors", of.graph)
    assert again.additive
    assert all(np.array_equal(again.by_group[name], values) for name, values in scores.by_group.items())


def test_without_images_it_says_what_it_lacks():
    of = study(with_doubles())
    with pytest.raises(ConfigError, match="needs images"):
        Obs().score(Study(of.network, of.graph, None, 0))


def test_a_network_that_cannot_be_written_down_is_scored_by_its_modules():
    """A result in an object of its own is nothing that torch.export takes; there is no stream in it, so both agree."""

    def forward(m, x):
        return SimpleNamespace(scores=m.head(m.b(m.a(x).relu()).relu()))

    of = study(with_doubles())
    hidden = net(forward, **dict(of.network.module.named_children()))
    with pytest.raises(TraceError, match=r"torch\.export cannot follow"):
        flatten(hidden, ["a.weight"], batch=2)
    one, other = (Obs(images=8).score(Study(each, of.graph, of.data, 0)).by_group for each in (of.network, hidden))
    assert set(one) == set(other)
    assert all(one[name] == pytest.approx(other[name], rel=1e-4, abs=1e-9) for name in one)


def test_weights_that_overflow_are_named():
    of = study(with_doubles())
    with torch.no_grad():
        of.network.module.a.weight.fill_(3e38)
    with pytest.raises(Diverged, match="NaN or infinity"):
        Obs(images=8).score(of)


def test_units_that_are_constant_cost_nothing():
    network = net(_forward, a=conv(3, 12), b=conv(12, 12, 1), head=head(12))
    with torch.no_grad():
        network.module.a.weight.zero_()
    scores = Obs(images=8).score(study(network)).by_group
    assert scores["a"] == pytest.approx(np.zeros(12), abs=1e-6)
    assert scores["b"] == pytest.approx(np.zeros(12), abs=1e-6)


@pytest.mark.parametrize("options", [{"images": 1}, {"positions": 0}, {"ridge": 0.0}])
def test_settings_that_mean_nothing_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        Obs(**options)
