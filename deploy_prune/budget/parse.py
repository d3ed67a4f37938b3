"""Budgets as people write them: `5ms`, `60Mcycles`, `0.5x`, `150MMACs`, `params=1.2M`, `size=4MB`, `latency=0.5x`."""

from __future__ import annotations

import re
from functools import cache

from deploy_prune.errors import BudgetError
from deploy_prune.values import Budget, name_unit, same_unit

_NUMBER = r"(?P<number>\d+(?:\.\d*)?|\.\d+)"
_COUNTED = "cycles|instructions"
"""What simulated cores count; which core is not said, as it is that of the device."""
_PREFIXES = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}
_FORMS = (
    (re.compile(rf"^{_NUMBER}x$"), "macs"),
    (re.compile(rf"^{_NUMBER}(?P<prefix>[kKMG]?)(?P<unit>MACs)$"), "macs"),
    (re.compile(rf"^{_NUMBER} ?(?P<unit>ms)$"), "latency"),
    (re.compile(rf"^{_NUMBER}(?P<prefix>[kKMG]?)(?P<unit>{_COUNTED})$"), "latency"),
    (
        re.compile(rf"^(?P<cost>[a-z]+)={_NUMBER}(?P<prefix>[kKMG]?)(?P<unit>B|MACs|ms|{_COUNTED})?(?P<relative>x?)$"),
        "",
    ),
)
_UNITS = {"": "", "B": "bytes"}
"""The unit as it is written, and as costs call it, where that is another word; empty: the cost's own."""
_HINT = (
    "write 5ms, 60Mcycles, 0.5x, 150MMACs, params=1.2M, size=4MB or channels=0.7; NAME=0.5x is a fraction of any cost"
)


@cache
def parse(text: str) -> Budget:
    """The budget that a text asks for, the same value whenever it is asked; the cost's name is not looked up here.

    Raises:
        BudgetError: not a budget, or not a positive one, or a fraction of one or more.
    """
    for form, cost in _FORMS:
        match = form.match(text.strip())
        if match:
            parts = match.groupdict()
            limit = float(parts["number"]) * _PREFIXES[parts.get("prefix") or ""]
            name = cost or parts["cost"]
            fraction = text.strip().endswith("x") or (name == "channels" and limit <= 1)
            written = parts.get("unit") or ""
            unit = "" if fraction else _UNITS.get(written, written)
            return _sensible(Budget(name, limit, fraction, text.strip(), unit))
    raise BudgetError(f"'{text}' is no budget", hint=_HINT)


def _sensible(budget: Budget) -> Budget:
    if budget.limit <= 0:
        raise BudgetError(f"budget '{budget.text}' leaves nothing", hint=_HINT)
    if budget.relative and budget.limit >= 1:
        raise BudgetError(f"budget '{budget.text}' removes nothing", hint="a fraction is below 1: 0.5x halves the cost")
    return budget


def fraction_of(cost: str, share: float) -> Budget:
    """The budget of a share of the dense network's cost, to four digits: `latency=0.5000x`."""
    return parse(f"{cost}={share:.4f}x")


def check_unit(budget: Budget, unit: str) -> None:
    """Refuse a budget that is not of a cost's unit; cycles are those of any core, a bare number is of any unit.

    Raises:
        UnitError: it is in another unit.
    """
    if budget.unit not in {"", name_unit(unit)}:
        same_unit(budget.unit, unit)


def in_units(budget: Budget, dense: float, unit: str) -> float:
    """The limit in the cost's own unit, such as "ms", given the dense network's cost in that unit.

    Raises:
        UnitError: the budget is in another unit.
    """
    check_unit(budget, unit)
    return budget.limit * dense if budget.relative else budget.limit
