"""Rows without zeros as the matrix that they were."""

from __future__ import annotations

import numpy as np

from deploy_prune.formats.csr import SparseRows


def expand(sparse: SparseRows, width: int) -> np.ndarray:
    """The matrix, which has so many columns."""
    matrix = np.zeros((len(sparse.starts) - 1, width), sparse.values.dtype)
    rows = np.repeat(np.arange(len(matrix)), np.diff(sparse.starts))
    matrix[rows, sparse.columns] = sparse.values
    return matrix
