"""What each ATen operator does to labels: one table from operator name to rule, put together from the families.

An operator that no rule knows locks what it touches, with its name and source line: never a crash, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from deploy_prune.graph.ledger import Ledger
from deploy_prune.graph.meta import name_of
from deploy_prune.graph.rules import elementwise, reductions, shapes, weighted
from deploy_prune.graph.rules.call import Call, Rule, lock_unknown

RULES: Mapping[str, Rule] = {**elementwise.RULES, **shapes.RULES, **reductions.RULES, **weighted.RULES}


def apply(ledger: Ledger, call: Call) -> Sequence[Tensor]:
    """Labels of every result of one operator."""
    return RULES.get(name_of(call.func), lock_unknown)(ledger, call)
