"""Budgets as people write them, and what is refused."""

from __future__ import annotations

import pytest

from deploy_prune.budget.parse import fraction_of, in_units, parse
from deploy_prune.errors import BudgetError, UnitError
from deploy_prune.values import Budget


@pytest.mark.parametrize(
    ("text", "cost", "limit", "relative", "unit"),
    [
        ("0.5x", "macs", 0.5, True, ""),
        (".25x", "macs", 0.25, True, ""),
        (" 0.5x ", "macs", 0.5, True, ""),
        ("150MMACs", "macs", 150e6, False, "MACs"),
        ("1.5GMACs", "macs", 1.5e9, False, "MACs"),
        ("300000MACs", "macs", 300e3, False, "MACs"),
        ("params=1.2M", "params", 1.2e6, False, ""),
        ("params=800k", "params", 800e3, False, ""),
        ("params=0.4x", "params", 0.4, True, ""),
        ("size=4MB", "size", 4e6, False, "bytes"),
        ("size=512kB", "size", 512e3, False, "bytes"),
        ("channels=0.7", "channels", 0.7, True, ""),
        ("channels=0.7x", "channels", 0.7, True, ""),
        ("channels=500", "channels", 500, False, ""),
        ("macs=40M", "macs", 40e6, False, ""),
        ("6ms", "latency", 6.0, False, "ms"),
        ("60Mcycles", "latency", 60e6, False, "cycles"),
        ("latency=1.5Ginstructions", "latency", 1.5e9, False, "instructions"),
        ("latency=50M", "latency", 50e6, False, ""),
    ],
)
def test_a_budget_means_what_it_says(text: str, cost: str, limit: float, relative: bool, unit: str) -> None:
    assert parse(text) == Budget(cost, pytest.approx(limit), relative, text.strip(), unit)


@pytest.mark.parametrize(
    "text", ["", "x", "half", "0.5", "-0.5x", "1e3MACs", "0.5X", "150 MMACs", "params", "params=", "=3", "size=4TB",
             "0,5x", "60Mcycle", "60 cycles/s", "nanx", "infx", "0.5xx", "params=1.2M extra"],
)  # fmt: skip
def test_nonsense_is_refused_with_examples(text: str) -> None:
    with pytest.raises(BudgetError, match="is no budget") as caught:
        parse(text)
    assert "0.5x" in caught.value.hint


@pytest.mark.parametrize("text", ["0x", "0MACs", "params=0", "channels=0"])
def test_nothing_is_no_budget(text: str) -> None:
    with pytest.raises(BudgetError, match="leaves nothing"):
        parse(text)


@pytest.mark.parametrize("text", ["1x", "1.5x", "params=2x", "channels=1.0"])
def test_a_fraction_of_one_or_more_removes_nothing(text: str) -> None:
    with pytest.raises(BudgetError, match="removes nothing"):
        parse(text)


def test_a_share_of_a_cost_is_the_budget_that_people_would_write() -> None:
    assert fraction_of("latency", 0.123456) == parse("latency=0.1235x")


def test_a_relative_limit_is_a_share_of_the_dense_cost() -> None:
    assert in_units(parse("0.25x"), 400.0, "MACs") == 100.0
    assert in_units(parse("params=300"), 400.0, "parameters") == 300.0


def test_a_limit_in_another_unit_than_the_cost_is_refused() -> None:
    with pytest.raises(UnitError, match="in MACs and in bytes are never compared") as caught:
        in_units(parse("size=4MMACs"), 1e6, "bytes")
    assert "bytes" in caught.value.hint


def test_cycles_are_those_of_whichever_core_the_device_is_and_of_nothing_else() -> None:
    for core in ("Cortex-A72", "Cortex-A76"):
        assert in_units(parse("60Mcycles"), 1e8, f"simulated {core} cycles") == 60e6
    for unit in ("ms", "simulated Cortex-A72 instructions"):
        with pytest.raises(UnitError, match=f"in cycles and in {unit} are never compared"):
            in_units(parse("60Mcycles"), 1e8, unit)
    with pytest.raises(UnitError, match="in ms and in simulated Cortex-A72 cycles are never compared"):
        in_units(parse("6ms"), 1e8, "simulated Cortex-A72 cycles")
