"""Compressed sparse rows: the numbers of a matrix that are not 0, the column of each, and where each row begins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class SparseRows:
    """A matrix without its zeros."""

    starts: np.ndarray
    """Where each row begins in `columns` and `values`, and where the last one ends."""
    columns: np.ndarray
    """The column of each number, row by row."""
    values: np.ndarray
    """The numbers, row by row."""


def compress(matrix: np.ndarray) -> SparseRows:
    """Leave out the zeros, also those below 0."""
    rows, columns = np.nonzero(matrix)
    starts = np.searchsorted(rows, np.arange(len(matrix) + 1))
    return SparseRows(starts, columns, matrix[rows, columns])
