"""Which number of a file follows which group is found from its changes, and never guessed."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from building import conv, head, net
from hypothesis import example, given
from hypothesis import strategies as st
from nets import NETS

from deploy_prune.budget.latency.size_lines import SizeLines, known_lines, probing_widths, solve_lines
from deploy_prune.errors import ExportFailed
from deploy_prune.graph import trace
from deploy_prune.values import ChannelGraph
from examples import examples

PLANS = np.array([[6, 8], [4, 5]])
"""Plans of `plain`, whose groups are a (6 units) and b (8): dense, and 2 and 3 units less."""


def chain(widths: list[int]) -> ChannelGraph:
    """A convolution per width, one after the other."""
    layers = {
        f"c{place}": conv(into, out, 1) for place, (into, out) in enumerate(zip([3, *widths], widths, strict=False))
    }

    def forward(m, x):
        for name in layers:
            x = getattr(m, name)(x)
        return m.head(x)

    return trace(net(forward, **layers, head=head(widths[-1])))


def line(*column: int) -> list[int]:
    """The line of a number that is `column` in the files of `PLANS`."""
    return solve_lines(trace(NETS["plain"]()), PLANS, np.array([column]).T).rows[0].tolist()


def test_the_sizes_of_a_chain_are_those_of_its_groups():
    assert known_lines(trace(NETS["plain"]())).rows.tolist() == [[0, 0, 1], [0, 1, 0]]


def test_a_concat_is_the_sum_of_its_parts():
    """c reads the 4 units of a and the 6 of b."""
    assert [0, 1, 1, 0] in known_lines(trace(NETS["concat"]())).rows.tolist()


def test_a_group_whose_units_are_several_channels_counts_both():
    """`grouped_whole` loses groups of 2 channels in and 3 out: a file says how many groups there are."""
    assert known_lines(trace(NETS["grouped_whole"]())).rows.tolist() == [[0, 1], [0, 2], [0, 3]]


def test_what_stays_beside_a_group_is_a_constant():
    """b reads the image's 3 channels and the units of a."""
    assert [3, 1, 0] in known_lines(trace(NETS["concat_image"]())).rows.tolist()


def test_the_worked_example_goes_as_its_picture_says():
    columns = [[54, 36], [22, 19], [128, 80], [10, 10]]
    assert [line(*column) for column in columns] == [[0, 9, 0], [14, 0, 1], [0, 0, 16], [10, 0, 0]]


def test_a_number_that_never_changes_is_a_constant():
    assert line(224, 224) == [224, 0, 0]


@pytest.mark.parametrize(
    ("column", "found"),
    [
        ((6, 4), [0, 1, 0]),
        ((8, 5), [0, 0, 1]),
        ((16 * 8, 16 * 5), [0, 0, 16]),  # flattened: 16 positions per channel
        ((6 + 10, 4 + 10), [10, 1, 0]),  # beside 10 channels that stay
        ((8 - 2, 5 - 2), [-2, 0, 1]),
    ],
)
def test_lines_found_by_hand(column, found):
    assert line(*column) == found


@pytest.mark.parametrize("column", [(9, 8), (6, 5), (6, 10), (7, 8)])
def test_a_number_that_changes_as_no_group_does_is_refused(column):
    with pytest.raises(ExportFailed, match=f"{column[0]}, {column[1]}.*follows no group"):
        line(*column)


def test_lines_give_the_numbers_of_many_plans_at_once():
    lines = SizeLines(np.array([[10, 1, 0], [0, 0, 16]]))
    assert lines.at(np.array([[[6, 8]], [[1, 2]]])).tolist() == [[[16, 128]], [[11, 32]]]


def test_groups_that_no_widths_tell_apart_are_refused():
    """Two groups of two units can both lose but one."""
    with pytest.raises(ExportFailed, match="too narrow to be told apart"):
        probing_widths(chain([2, 2]))


def test_the_same_seed_probes_the_same_widths():
    graph = chain([16, 16, 24])
    assert np.array_equal(probing_widths(graph, seed=3), probing_widths(graph, seed=3))


@examples(30)
@given(st.lists(st.sampled_from([8, 12, 16, 16, 24, 32, 64, 96]), min_size=1, max_size=6))
def test_probing_widths_tell_every_group_from_every_other(widths):
    graph = chain(widths)
    dense = np.array([group.width for group in graph.free])
    probes = probing_widths(graph)
    assert (probes >= 1).all() and (probes < dense).any(axis=0).all() and (probes <= dense).all()
    seen = known_lines(graph).at(np.concatenate([dense[None], probes])).T.tolist()
    assert len({tuple(size) for size in seen}) == len(seen)


@examples(30)
@example([16, 16, 32], 2)
@given(st.lists(st.sampled_from([8, 12, 16, 16, 24, 32, 64, 96]), min_size=2, max_size=5), st.integers(2, 49))
def test_a_flattened_size_is_never_taken_for_another_groups(widths, positions):
    """No size of a chain is a multiple of another group's at all the widths that are probed."""
    graph = chain(widths)
    plans = np.concatenate([[[group.width for group in graph.free]], probing_widths(graph)])
    sizes = known_lines(graph)
    numbers = positions * sizes.at(plans)
    assert np.array_equal(solve_lines(graph, plans, numbers).rows, positions * sizes.rows)


def test_groups_that_lose_unlike_numbers_of_units_are_told_apart_by_their_changes():
    graph = chain([32, 64, 96])
    (probe,) = probing_widths(graph)
    lost = [group.width - int(kept) for group, kept in zip(graph.free, probe, strict=True)]
    assert all(one != other for one, other in combinations(lost, 2))
