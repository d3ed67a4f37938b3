"""The fitted model as tables: the same as its columns times their coefficients, for every network and every width."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from latencies import mixed, sketch

from deploy_prune.budget.latency.compiled import AT_ONCE, CompiledModel
from deploy_prune.budget.latency.features import Features, describe_features
from deploy_prune.budget.latency.size_lines import SizeLines
from deploy_prune.budget.latency.table import read_features
from deploy_prune.errors import RecordError
from deploy_prune.formats.templates import Operator
from deploy_prune.graph import trace
from examples import examples

DENSE = (21, 38, 11)
widths_of_mixed = st.lists(st.tuples(*(st.integers(1, width) for width in DENSE)), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def whole() -> Features:
    return read_features(sketch(trace(mixed())))


def coefficients(columns: Features, seed: int) -> np.ndarray:
    """A coefficient for every column but the constant; half of them are 0."""
    draw = np.random.default_rng(seed)
    count = len(columns.names) - 1
    return draw.uniform(0, 1, count) * draw.integers(0, 2, count)


def terms(columns: Features, weights: np.ndarray, dense: tuple[int, ...] = DENSE) -> CompiledModel:
    return CompiledModel.of(columns, weights, np.array(dense))


@examples(25)
@given(widths=widths_of_mixed, seed=st.integers(0, 99))
def test_terms_are_the_columns_times_their_coefficients(whole, widths, seed):
    plans, weights = np.array(widths), coefficients(whole, seed)
    np.testing.assert_allclose(terms(whole, weights)(plans), whole(plans)[:, :-1] @ weights, rtol=1e-9)


def test_more_plans_than_are_looked_up_together(whole):
    plans, weights = np.tile([DENSE, (3, 5, 2)], (AT_ONCE, 1)), coefficients(whole, 0)
    np.testing.assert_allclose(terms(whole, weights)(plans), whole(plans)[:, :-1] @ weights, rtol=1e-9)
    assert terms(whole, weights)(plans[:0]).shape == (0,)


@examples(25)
@given(widths=widths_of_mixed, seed=st.integers(0, 99), group=st.integers(0, 2))
def test_along_a_group_is_every_plan_that_differs_there(whole, widths, seed, group):
    found, options = terms(whole, coefficients(whole, seed)), np.arange(1, DENSE[group] + 1)
    plans = np.repeat(np.array(widths[:1]), len(options), axis=0)
    plans[:, group] = options
    np.testing.assert_allclose(found.along(np.array(widths[0]), group, options), found(plans), rtol=1e-12)


@examples(25)
@given(seed=st.integers(0, 99), group=st.integers(0, 2), widths=widths_of_mixed)
def test_what_a_group_does_not_touch_is_a_constant_of_its_width(whole, seed, group, widths):
    """All less the part that a group touches is the same at every width of that group."""
    found, options = terms(whole, coefficients(whole, seed)), np.arange(1, DENSE[group] + 1)
    plan = np.array(widths[0])
    rest = found.along(plan, group, options) - found.touched_by(group).along(plan, group, options)
    np.testing.assert_allclose(rest, rest[0], atol=1e-12)


def test_a_group_is_decided_over_with_what_shares_a_layer_with_it(whole):
    """b, the middle of the residual block, meets the stream; the squeeze layer meets it too, but not b."""
    found = terms(whole, np.ones(len(whole.names) - 1))
    names = [group.name for group in sketch(trace(mixed())).groups]
    stream, middle, squeezed = (names.index(name) for name in ("a", "b", "down"))
    assert set(found.touched_by(stream).groups) == {stream, middle, squeezed}
    assert set(found.touched_by(middle).groups) == {stream, middle}


def test_a_size_that_follows_two_groups():
    """A concat of both, read by a convolution: three products in all."""
    lines = SizeLines(np.array([[6, 0, 0], [0, 1, 2], [10, 0, 0]]))
    layer = Operator("CONV_2D", "pointwise", ((0, 1),), ((0, 2),), (2, 1), 1, 2)
    columns = describe_features(lines, (layer,), {"pointwise": (4,)})
    weights = np.ones(len(columns.names) - 1)
    plans = np.array([(a, b) for a in range(1, 6) for b in range(1, 5)])
    np.testing.assert_allclose(terms(columns, weights, (5, 4))(plans), columns(plans)[:, :-1] @ weights, rtol=1e-9)


def test_sizes_that_no_network_has_are_refused(whole):
    """They would take gigabytes of tables."""
    beyond = replace(whole, lines=SizeLines(whole.lines.rows * np.array([1, 10**7, 1, 1])))
    with pytest.raises(RecordError, match="more values"):
        terms(beyond, np.ones(len(whole.names) - 1))
