"""What the emulator's plugin writes is read whole or refused, and the blocks that matter are the fewest."""

from __future__ import annotations

import pytest

from deploy_prune.errors import Unavailable
from deploy_prune.timing.simulator.counts import Counts, choose_hot, count_instructions, read_counts

LOOP = "9012804f6505c13c004000f1a2ffff54"
"""The code of `fmla; ldr; subs; b.hs`."""
RETURN = "c0035fd6"

WRITTEN = f"1000 {LOOP}\n3 {RETURN}\n24 {LOOP}\nend 4099\n"


def test_translations_of_one_block_are_added_up() -> None:
    counts = read_counts(WRITTEN)
    assert dict(counts.blocks) == {LOOP: 1024, RETURN: 3}
    assert counts.instructions == 4 * 1024 + 3


def test_a_block_has_an_instruction_per_four_bytes() -> None:
    assert [count_instructions(code) for code in (LOOP, RETURN)] == [4, 1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage\n",
        WRITTEN.removesuffix("end 4099\n"),
        WRITTEN[:-3],
        WRITTEN.replace("4099", "4100"),
        f"{LOOP}\nend 4",
    ],
)
def test_what_is_not_whole_is_refused(text: str) -> None:
    with pytest.raises(Unavailable, match="what the emulator counted cannot be read"):
        read_counts(text)


def test_nothing_executed_is_no_fault() -> None:
    assert read_counts("end 0\n") == Counts({}, 0)


def test_hot_blocks_are_the_fewest_that_cover_a_share() -> None:
    counts = Counts({"aa" * 4: 10, LOOP: 20, "bb" * 4: 10}, 100)  # 10, 80 and 10 instructions
    assert choose_hot(counts, 0.8) == (LOOP,)
    assert choose_hot(counts, 0.85) == (LOOP, "aa" * 4)
    assert choose_hot(counts, 1.0) == (LOOP, "aa" * 4, "bb" * 4)
