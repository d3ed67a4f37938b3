"""A cut is exact or what would move is locked with its line, for every way in which a forward looks at its channels."""

from __future__ import annotations

import pytest
from laws import lively
from traps import PARTS, build_trap, cut_as_a_run_does, draw_trap, list_lines

from deploy_prune.graph.soundness import settle

EXACT = 1e-9


@pytest.mark.heavy
@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_cut_exactly_or_locked_with_its_line(name: str) -> None:
    lines = list_lines(PARTS[name])
    for width in (16, 13):
        network = build_trap([(name, width)])
        graph = settle(network)
        lively(network.module)
        for seed in range(3):
            locked, error = cut_as_a_run_does(network, graph, seed)
            assert error is None or error <= EXACT
            for group in locked.groups:
                if group.locked and group.name.startswith("blocks.") and not group.name.endswith(".input"):
                    assert any(line in group.locked for line in lines), group.locked


@pytest.mark.heavy
@pytest.mark.parametrize("number", range(0, 60, 10))
def test_random_chains_are_cut_exactly(number: int) -> None:
    for each in range(number, number + 10):
        network = draw_trap(each)
        graph = settle(network)
        lively(network.module)
        _, error = cut_as_a_run_does(network, graph, each)
        assert error is None or error <= EXACT, network.address
