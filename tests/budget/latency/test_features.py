"""The columns of the latency model: worked out by hand for one convolution, and laws that hold for all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from latencies import mixed, sketch

from deploy_prune.budget.latency.features import Features, describe_features
from deploy_prune.budget.latency.size_lines import SizeLines
from deploy_prune.budget.latency.table import read_features
from deploy_prune.formats.templates import Operator
from deploy_prune.graph import trace
from examples import examples

TILES = {"convolution": (8, 16), "pointwise": (8,), "depthwise": (4,)}

# Places of the numbers below: 0 batch, 1 height, 2 width, 3 channels in, 4 channels out, 5 and 6 kernel.
CONV = Operator("CONV_2D", "convolution", ((0, 1, 2, 3),), ((0, 1, 2, 4),), (4, 5, 6, 3), 3, 4, kernel=9)
RELU = Operator("RELU", "elementwise", ((0, 1, 2, 4),), ((0, 1, 2, 4),))
ADD = Operator("ADD", "elementwise", ((0, 1, 2, 4), (0, 1, 2, 4)), ((0, 1, 2, 4),))
LINES = SizeLines(np.array([[1, 0, 0], [10, 0, 0], [20, 0, 0], [0, 1, 0], [0, 0, 1], [3, 0, 0], [3, 0, 0]]))
"""Group 0 is the channels in, group 1 the channels out; 10 x 20 positions, a window of 3 x 3."""


def columns(*operators: Operator, at: tuple[int, int] = (5, 18)) -> dict[str, float]:
    found = describe_features(LINES, operators, TILES)
    return dict(zip(found.names, found(np.array([at]))[0].tolist(), strict=True))


def test_the_worked_example_goes_as_its_picture_says():
    """Ten units of a are read and six of b made, on 16 positions."""
    lines = SizeLines(np.array([[0, 1, 0], [0, 0, 1], [16, 0, 0]]))
    pointwise = Operator("CONV_2D", "pointwise", ((2, 0),), ((2, 1),), (0, 1), 0, 1)
    described = describe_features(lines, (pointwise,), {"pointwise": (4,)})
    values = dict(zip(described.names, described(np.array([[10, 6]]))[0].tolist(), strict=True))
    expected = {"MMACs in 1s": 960e-6, "MMACs in 4s": 1280e-6, "MB read": 640e-6, "MB written": 384e-6}
    assert {name: values[f"pointwise {name}"] for name in expected} == pytest.approx(expected)


def test_the_work_of_a_convolution_is_counted_with_channels_rounded_up():
    """18 channels are 24 in eights and 32 in sixteens."""
    found = columns(CONV)
    assert found["convolution MMACs in 1s"] == pytest.approx(200 * 5 * 9 * 18 / 1e6)
    assert found["convolution MMACs in 8s"] == pytest.approx(200 * 5 * 9 * 24 / 1e6)
    assert found["convolution MMACs in 16s"] == pytest.approx(200 * 5 * 9 * 32 / 1e6)


def test_the_bytes_of_a_convolution():
    found = columns(CONV)
    assert found["convolution MB read"] == pytest.approx(4 * 200 * 5 / 1e6)
    assert found["convolution MB written"] == pytest.approx(4 * 200 * 18 / 1e6)
    assert found["convolution MB of weights"] == pytest.approx(4 * 5 * 9 * 18 / 1e6)
    assert found["convolution MB of weights not in 4s"] == found["convolution MB of weights"]
    assert found["convolution count"] == found["constant"] == 1


def test_only_rows_that_are_not_aligned_are_counted_as_such():
    """5 channels in, 18 out; then 8 in, 16 out."""
    found = columns(CONV)
    assert found["convolution rows written not in 4s"] == pytest.approx(200 / 1e6)
    assert found["convolution rows read not in 4s"] == pytest.approx(200 * 18 / 1e6)
    assert found["convolution MB read not in 16s"] == found["convolution MB read"]
    aligned = columns(CONV, at=(8, 16))
    assert aligned["convolution rows written not in 16s"] == 0
    assert aligned["convolution MB read not in 8s"] == aligned["convolution MB of weights not in 4s"] == 0
    assert aligned["convolution MB read not in 16s"] == aligned["convolution MB read"]


def test_work_and_rows_of_a_narrow_kernel_are_counted_where_it_is_taken():
    """18 channels go two by two, 15 are two tiles of eight either way."""
    found, other = columns(CONV), columns(CONV, at=(5, 15))
    assert found["convolution MMACs in 2s beside 8s"] == pytest.approx(200 * 9 * 5 * 18 / 1e6)
    assert found["convolution rows in 2s beside 8s"] == pytest.approx(200 * 18 / 1e6)
    assert other["convolution MMACs in 2s beside 8s"] == other["convolution rows in 2s beside 8s"] == 0


def test_bytes_are_handed_over_where_one_neighbour_is_aligned_and_the_other_is_not():
    """The second convolution reads what the first made: its own channels in are 16, the first one's 5."""
    lines = SizeLines(np.concatenate([LINES.rows, [[12, 0, 0]]]))
    second = Operator("CONV_2D", "pointwise", ((0, 1, 2, 4),), ((0, 1, 2, 7),), (7, 4), 4, 7)
    found = describe_features(lines, (CONV, RELU, second), TILES)
    named = dict(zip(found.names, found(np.array([[5, 16]]))[0].tolist(), strict=True))
    assert named["pointwise MB handed over into 8s"] == pytest.approx(4 * 200 * 16 / 1e6)
    assert named["pointwise MB handed over out of 8s"] == 0
    named = dict(zip(found.names, found(np.array([[8, 18]]))[0].tolist(), strict=True))
    assert named["pointwise MB handed over into 8s"] == 0
    assert named["pointwise MB handed over out of 8s"] == pytest.approx(4 * 200 * 18 / 1e6)


def test_an_operator_without_a_weight_moves_bytes():
    found = columns(ADD, RELU)
    assert found == pytest.approx(
        {"elementwise MB read": 4 * 3 * 200 * 18 / 1e6, "elementwise MB written": 4 * 2 * 200 * 18 / 1e6}
        | {"elementwise count": 2, "constant": 1}
    )


def test_operators_of_one_kind_are_added_up():
    assert columns(CONV, CONV)["convolution MMACs in 16s"] == 2 * columns(CONV)["convolution MMACs in 16s"]


@pytest.fixture(scope="module")
def whole() -> Features:
    return read_features(sketch(trace(mixed())))


DENSE = (21, 38, 11)
widths_of_mixed = st.lists(st.tuples(*(st.integers(1, width) for width in DENSE)), min_size=1, max_size=5)


def coefficients(features: Features, seed: int) -> np.ndarray:
    """A coefficient for every column but the constant; half of them are 0."""
    draw = np.random.default_rng(seed)
    count = len(features.names) - 1
    return draw.uniform(0, 1, count) * draw.integers(0, 2, count)


@examples(25)
@given(widths=widths_of_mixed, seed=st.integers(0, 99))
def test_operators_add_up_to_the_columns_times_their_coefficients(whole, widths, seed):
    plans, weights = np.array(widths), coefficients(whole, seed)
    operators = whole.by_operator(plans, weights, operators=7)
    assert operators.shape == (len(plans), 7)
    np.testing.assert_allclose(operators.sum(axis=1), whole(plans)[:, :-1] @ weights, rtol=1e-9)


@examples(25)
@given(widths=widths_of_mixed, seed=st.integers(0, 99))
def test_only_the_columns_that_weigh_give_the_same(whole, widths, seed):
    plans, weights = np.array(widths), coefficients(whole, seed)
    few = whole.only((weights != 0).tolist())
    assert len(few.names) == np.count_nonzero(weights) + 1
    np.testing.assert_allclose(few(plans)[:, :-1] @ weights[weights != 0], whole(plans)[:, :-1] @ weights, rtol=1e-9)


def test_numbers_that_no_column_reads_are_left_out():
    lines = SizeLines(np.concatenate([LINES.rows, np.full((100, 3), 7)]))
    assert len(describe_features(lines, (CONV,), TILES).lines.rows) == 7
