"""Blocks are priced by LLVM's model, each once, and an inference is the sum of its blocks."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulated import needs_llvm

from deploy_prune.errors import Unavailable
from deploy_prune.timing.simulator.counts import Counts
from deploy_prune.timing.simulator.cycles import Prices, analyse, disassemble, read_cycles
from deploy_prune.timing.simulator.tools import Analyser, find_analyser

LOOP = "9012804f6505c13c004000f1a2ffff54"
INSTRUCTIONS = ("fmla v16.4s, v20.4s, v0.s[0]", "ldr q5, [x11], #16", "subs x0, x0, #16", "b.hs #-12")
ADD = "0000018b"
A72 = "cortex-a72"

SAID = """
[0] Code Region - 0

Iterations:        20
Instructions:      80
Total Cycles:      103
Total uOps:        100

Dispatch Width:    3
uOps Per Cycle:    0.97
IPC:               0.78
Block RThroughput: 1.7

[1] Code Region - 1

Iterations:        20
Instructions:      20
Total Cycles:      23
Total uOps:        20
"""
"""What llvm-mca 14 says of the loop and of an addition on a Cortex-A72."""


def test_cycles_are_of_one_run_of_a_block() -> None:
    assert read_cycles(SAID) == (103 / 20, 23 / 20)


@needs_llvm
def test_code_is_read_back_as_instructions() -> None:
    listings = disassemble([LOOP, ADD], find_analyser())
    assert listings == {LOOP: INSTRUCTIONS, ADD: ("add x0, x0, x1",)}


@needs_llvm
def test_llvm_prices_blocks_in_their_order() -> None:
    prices = analyse([INSTRUCTIONS, ("add x0, x0, x1",)], find_analyser(), A72)
    assert prices is not None
    assert prices[0] > 3 * prices[1] > 0


@needs_llvm
def test_a_call_costs_what_a_jump_costs_and_not_what_it_calls() -> None:
    prices = analyse([("bl #64",), ("blr x3",), ("b #64",)], find_analyser(), A72)
    assert prices is not None
    assert prices[0] == prices[2]
    assert prices[1] < 5


@needs_llvm
def test_an_inference_is_the_sum_of_its_blocks_and_what_is_left_out_costs_as_much_per_instruction() -> None:
    prices = Prices(find_analyser(), A72)
    alone = prices.add_up(Counts({LOOP: 1000}, 4000))
    assert prices.add_up(Counts({LOOP: 2000}, 8000)) == pytest.approx(2 * alone)
    assert prices.add_up(Counts({LOOP: 1000, ADD: 8}, 4008)) == pytest.approx(alone * 4008 / 4000)
    assert set(prices.known) == {LOOP}


class TestWithoutAnAnalyser:
    """An analyser that is not there: whatever is known is not asked for again."""

    prices = Prices(
        Analyser("no-such-disassembler", "no-such-analyser", "14.0.6"), A72, {LOOP: 5.0}, {LOOP: INSTRUCTIONS}
    )

    def test_a_block_is_priced_once(self) -> None:
        assert self.prices.add_up(Counts({LOOP: 10}, 40)) == 50.0
        assert self.prices.list_hot(Counts({LOOP: 10}, 40)) == ((INSTRUCTIONS, 10),)

    def test_a_new_block_cannot_be_priced(self) -> None:
        with pytest.raises(Unavailable, match="no-such-disassembler does not run"):
            self.prices.add_up(Counts({ADD: 10}, 10))


def test_too_much_without_a_price_is_refused() -> None:
    prices = Prices(Analyser("", "", "14.0.6"), A72, {LOOP: 5.0, ADD: None})
    with pytest.raises(Unavailable, match=r"LLVM 14.0.6 has no price on cortex-a72 for 20.0% of the instructions"):
        prices.add_up(Counts({LOOP: 10, ADD: 10}, 50))


def test_a_disassembler_that_knows_less_than_there_is_is_no_guess(tmp_path: Path) -> None:
    script = tmp_path / "llvm-mc"
    script.write_text("#!/bin/sh\necho 'add x0, x0, x1'\necho 'warning: invalid instruction encoding' >&2\n")
    script.chmod(0o755)
    with pytest.raises(Unavailable, match=r"LLVM 14.0.6 cannot read the code of a block: warning: invalid instruction"):
        disassemble([ADD, LOOP], Analyser(str(script), "", "14.0.6"))
