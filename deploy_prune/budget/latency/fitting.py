"""Samples -> coefficients: non-negative least squares on relative errors, and how it errs on samples it never saw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy_prune.stats import percentile

FOLDS = 8
"""The number of folds of the cross-validation."""
REWEIGHTED, HUBER = 4, 2.0
"""Rounds of reweighting; errors larger than so many medians weigh less."""
FEWEST = 24
"""Samples below which nothing is said."""


@dataclass(frozen=True)
class FitError:
    """Relative errors on samples that were left out of the fit."""

    mean: float
    p95: float
    spearman: float
    samples: int


@dataclass(frozen=True, eq=False)
class Fit:
    """Coefficients of all columns, most of them 0."""

    coefficients: np.ndarray
    error: FitError


def fit_columns(columns: np.ndarray, ratios: np.ndarray, *, seed: int = 0) -> Fit:
    """Coefficients from samples: columns (samples, columns), ratios (samples,).

    Every sample's error counts relative to its time: a small network's milliseconds matter as much as a large one's.
    The coefficients are not negative, as none of the columns saves time; that also keeps most of them out.

    Raises:
        ValueError: too few samples to leave some out.
    """
    if len(ratios) < FEWEST:
        raise ValueError(f"{len(ratios)} samples are too few for a fit")
    order = np.random.default_rng(seed).permutation(len(ratios))
    left_out = np.empty(len(ratios))
    for fold in range(FOLDS):
        test = order[fold::FOLDS]
        train = np.setdiff1d(order, test)
        left_out[test] = columns[test] @ _solve(columns[train], ratios[train])
    return Fit(_solve(columns, ratios), error_of(left_out, ratios))


def error_of(predicted: np.ndarray, measured: np.ndarray) -> FitError:
    """How far predictions are off, relative to what was measured."""
    from scipy.stats import spearmanr

    off = np.abs(predicted / measured - 1)
    order = float(spearmanr(predicted, measured).statistic) if len(measured) > 2 else 1.0
    return FitError(float(off.mean()), percentile(off.tolist(), 95), order, len(measured))


def _solve(columns: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """Huber's weights, as a file that happens to lie badly in memory is slower every time it is run."""
    from scipy.optimize import nnls

    relative = columns / ratios[:, None]
    scale = np.maximum(relative.max(axis=0), 1e-12)
    weights = np.ones(len(ratios))
    for _ in range(REWEIGHTED):
        coefficients, _ = nnls(weights[:, None] * relative / scale, weights)
        off = np.abs(relative / scale @ coefficients - 1)
        limit = HUBER * np.median(off) + 1e-9
        weights = np.sqrt(np.minimum(1.0, limit / np.maximum(off, 1e-12)))
    result: np.ndarray = coefficients / scale
    return result
