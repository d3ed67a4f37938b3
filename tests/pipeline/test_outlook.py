"""What a network can reach is said before anything is trained, and never beyond what it can."""

from __future__ import annotations

from dataclasses import replace

import pytest
from building import conv, net
from latencies import PHONE, REFERENCE_MS, made_up, mixed, sample

from deploy_prune.budget.latency.place import Place
from deploy_prune.budget.latency.store import Store
from deploy_prune.budget.latency.table import Profile
from deploy_prune.budget.parse import parse
from deploy_prune.errors import BudgetError, ConfigError, NotProfiled, UnitError
from deploy_prune.graph import trace
from deploy_prune.pipeline.outlook import LEVELS, Outlook, Wish, outlook
from deploy_prune.values import Network

HERE = Place("litert", "phone")
TABLE = made_up(trace(mixed()))


def kept(store: Store, table: Profile) -> Profile:
    store.begin(table)
    store.add(table, *table.samples)
    return table


def planned(store: Store, *budgets: str, network: Network | None = None, **wish: object) -> Outlook:
    return outlook(network or mixed(), HERE, store, Wish(tuple(map(parse, budgets)), **wish))


def test_without_a_budget_eight_are_spread_over_what_is_within_reach(store):
    kept(store, TABLE)
    found = planned(store)
    assert found.target == PHONE and found.dense_ms == pytest.approx(REFERENCE_MS, rel=0.03)
    assert len(found.options) == LEVELS
    predicted = [each.predicted_ms for each in found.options]
    assert predicted == sorted(predicted, reverse=True)
    assert found.least_ms <= predicted[-1] < 0.3 * found.dense_ms and 0.75 * found.dense_ms < predicted[0]


def test_cycles_are_planned_in_cycles_and_budgets_are_typed_so(store):
    cycles = "simulated Cortex-A72 cycles"
    kept(store, replace(TABLE, reference=98.7e6, unit=cycles))
    reach = planned(store)
    assert reach.unit == cycles
    for option in reach.options:
        assert option.budget.startswith("latency=") and option.budget.endswith("M")
        assert option.predicted_ms <= parse(option.budget).limit
    (option,) = planned(store, "60Mcycles").options
    assert option.budget == "60Mcycles" and 40e6 < option.predicted_ms <= 60e6
    with pytest.raises(UnitError, match="in instructions and in simulated Cortex-A72 cycles are never compared"):
        planned(store, "60Minstructions")
    with pytest.raises(BudgetError) as caught:
        planned(store, "latency=1M")
    assert f"M {cycles} are within reach" in caught.value.hint
    with pytest.raises(UnitError, match="figures in ms and in simulated Cortex-A72 cycles are never compared"):
        planned(store, "6ms")


def test_every_option_keeps_to_its_budget_and_says_what_it_keeps(store):
    kept(store, TABLE)
    for option in planned(store, "6ms", "0.5x", "latency=0.6x").options:
        limit = {"6ms": 6.0, "0.5x": 0.5 * REFERENCE_MS, "latency=0.6x": 0.6 * REFERENCE_MS}[option.budget]
        assert 0.7 * limit < option.predicted_ms <= 1.03 * limit
        assert option.interval_ms[0] < option.predicted_ms < option.interval_ms[1]
        assert set(option.widths) == {"a", "b", "down"} and sum(option.widths.values()) < 21 + 38 + 11
        assert 0 < option.macs_ratio < 1 and 0 < option.params_ratio < 1


def test_the_interval_is_as_wide_as_the_model_errs(store):
    kept(store, made_up(trace(mixed()), noise=0.03))
    found = planned(store, "0.5x")
    (option,) = found.options
    low, high = option.interval_ms
    assert (high - low) / 2 / option.predicted_ms == pytest.approx(found.error.p95)


@pytest.mark.parametrize("budget", ["0.1ms", "0.001x", "9ms"])
def test_a_budget_out_of_reach_is_refused_with_what_is_within(store, budget):
    kept(store, TABLE)
    reach = planned(store)
    with pytest.raises(BudgetError) as refused:
        planned(store, budget)
    said = f"{refused.value.message} {refused.value.hint}"
    assert f"from {reach.least_ms:.3g} to {reach.dense_ms:.3g} ms are within reach" in said and budget in said


@pytest.mark.parametrize("budget", ["150MMACs", "params=0.5x", "channels=0.7"])
def test_a_budget_of_something_else_is_refused(store, budget):
    kept(store, TABLE)
    with pytest.raises(BudgetError, match="is no budget in milliseconds"):
        planned(store, budget)


def test_a_method_that_only_selects_is_the_error_that_it_is_everywhere(store):
    kept(store, TABLE)
    with pytest.raises(ConfigError, match="method 'dcp' does not decide widths"):
        planned(store, method="dcp")


def stubborn() -> Network:
    """Where almost all of the work is in what cannot be cut: the group that can be is 24 of 1x1 on one pixel."""
    return net(lambda m, x: m.b(m.a(x.mean((2, 3), keepdim=True))).flatten(1), a=conv(3, 24, 1), b=conv(24, 5, 1))


def test_a_network_that_hardly_gets_faster_is_told_so_and_not_refused(store):
    """Four percent are within reach: no row claims more, and there is no budget to complain about."""
    network = stubborn()
    table = made_up(trace(network), noise=0.0)
    flat = tuple(sample(each.widths, 0.96 + 0.04 * each.ratio) for each in table.samples)
    kept(store, Profile(**{**vars(table), "samples": flat}))
    found = planned(store, network=network)
    assert found.least_ms > 0.95 * found.dense_ms
    assert all(found.least_ms <= each.predicted_ms < found.dense_ms for each in found.options)


def test_another_device_is_never_measured(store):
    with pytest.raises(NotProfiled, match="no milliseconds of this network on phone"):
        planned(store)


def test_of_another_device_no_images_are_measured(store):
    kept(store, TABLE)
    assert planned(store, "0.5x").inputs == ()
