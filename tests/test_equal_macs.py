"""Plans of equal MACs, by which the benchmarks compare widths at the edges of stairs with others."""

from __future__ import annotations

import numpy as np
import pytest
from stairs import Stairs, Term, chain, drawn, graph_of, line

from benchmarks.equal_macs import at_equal
from deploy_prune.budget.widths import Limits
from deploy_prune.errors import BudgetError


@pytest.mark.heavy
def test_a_plan_of_equal_macs_is_found() -> None:
    dense = [64, 96, 128, 80, 120, 72, 100, 144]
    graph, cost, macs = graph_of(dense), chain(dense, 16, 0.3), chain(dense, 1)
    for share in (0.3, 0.5, 0.7):
        target = share * float(macs(np.array(dense)))
        widths = at_equal(graph, drawn(graph, 2), cost, (macs, target), Limits())
        assert float(macs(line(widths))) == pytest.approx(target, rel=0.01)


def test_unreachable_macs_name_the_closest() -> None:
    """No plan reaches 24, which lies between one tile of 16 and two."""
    graph, cost, macs = graph_of([64]), Stairs((Term((), (0,), 16),), 1), Stairs((Term((), (0,)),), 1)
    with pytest.raises(BudgetError, match=r"costs 24\.0 within 1%; the closest costs \d+\.\d, [\d.]+% away"):
        at_equal(graph, drawn(graph, 0), cost, (macs, 24.0), Limits())
