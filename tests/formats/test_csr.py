"""Rows without zeros are the matrix again."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sparse_rows import expand

from deploy_prune.formats.csr import compress

NUMBERS = st.sampled_from([0.0, -0.0, 1.5, -2.0, 1e-38, 3e38])
MATRICES = arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=NUMBERS)


@given(MATRICES)
def test_what_is_left_out_comes_back_and_nothing_else_is_stored(matrix: np.ndarray) -> None:
    sparse = compress(matrix)
    np.testing.assert_array_equal(expand(sparse, matrix.shape[1]), matrix)
    assert len(sparse.values) == np.count_nonzero(matrix) == sparse.starts[-1]
    assert (sparse.values != 0).all()


@given(MATRICES)
def test_columns_rise_within_each_row(matrix: np.ndarray) -> None:
    sparse = compress(matrix)
    for start, end in zip(sparse.starts, sparse.starts[1:], strict=False):
        assert (np.diff(sparse.columns[start:end]) > 0).all()


def test_a_matrix_by_hand() -> None:
    sparse = compress(np.array([[0, 5, 0], [0, 0, 0], [6, 0, 7]], np.float32))
    assert sparse.starts.tolist() == [0, 1, 1, 3]
    assert sparse.columns.tolist() == [1, 0, 2]
    assert sparse.values.tolist() == [5, 6, 7]
