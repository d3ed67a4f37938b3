"""Columns of numbers are written flush right, columns of anything else are not."""

from __future__ import annotations

import pytest

from deploy_prune.analysis.page.sections import Section, Table


@pytest.mark.parametrize(
    ("cells", "numeric"),
    [
        (("1", "12,345", "0.5"), True),
        (("0.500 [0.480, 0.520]", ""), True),
        (("0.4x", "1.8e-06"), True),
        (("2.000 MB",), True),
        (("stem", "12"), False),
        (("12 of 40",), False),
        (("",), False),
        ((), False),
    ],
)
def test_a_column_of_numbers(cells: tuple[str, ...], *, numeric: bool) -> None:
    assert Table.of(("head",), [(cell,) for cell in cells]).numeric == (numeric,)


def test_an_anchor_is_a_word_that_links_can_carry() -> None:
    assert Section("Where the time went").anchor == "where-the-time-went"
    assert Section("pruned, latency=0.5x").anchor == "pruned-latency-0-5x"
