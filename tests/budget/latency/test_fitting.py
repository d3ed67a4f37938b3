"""The fit finds the stairs that samples were made of, says honestly how it errs, and is not led astray by outliers."""

from __future__ import annotations

import numpy as np
import pytest

from deploy_prune.budget.latency.fitting import FEWEST, error_of, fit_columns

TILES = (1, 4, 8, 16)
TRUTH = np.array([0.004, 0.0, 0.0, 0.01, 0.1])
"""A slope, stairs of 16, and a constant."""


def columns(count: int, *, seed: int = 0) -> np.ndarray:
    """Channels rounded up to each tile, and a constant: (samples, columns)."""
    channels = np.random.default_rng(seed).integers(4, 129, count)
    return np.stack([*(tile * np.ceil(channels / tile) for tile in TILES), np.ones(count)], axis=1)


def samples(count: int, *, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    found = columns(count)
    return found, found @ TRUTH * (1 + noise * np.random.default_rng(1).standard_normal(count))


def test_a_staircase_is_recovered():
    fit = fit_columns(*samples(60))
    np.testing.assert_allclose(fit.coefficients, TRUTH, atol=1e-6)
    assert fit.error.mean < 1e-6 and fit.error.samples == 60
    assert fit.error.spearman > 0.999


def test_the_error_on_samples_left_out_is_that_of_the_noise():
    """The mean of |N(0, 1)| is 0.8."""
    fit = fit_columns(*samples(400, noise=0.02))
    assert fit.error.mean == pytest.approx(0.8 * 0.02, rel=0.2)
    assert fit.error.p95 == pytest.approx(1.96 * 0.02, rel=0.3)


def test_the_error_does_not_flatter_a_fit_with_as_many_columns_as_samples():
    """Columns of chance fit the samples that they saw, and err on those that were left out."""
    draw = np.random.default_rng(0)
    ratios = draw.uniform(0.5, 1, 40)
    chance = draw.uniform(0, 1, (40, 40))
    fit = fit_columns(chance, ratios)
    seen = error_of(chance @ fit.coefficients, ratios)
    assert fit.error.mean > 1.5 * seen.mean and fit.error.mean > 0.1


def test_slow_outliers_hardly_move_the_fit():
    """One sample in twenty takes 40 % longer: without weights that is 2 % on average."""
    found, ratios = samples(200, noise=0.01)
    spoiled = ratios.copy()
    spoiled[::20] *= 1.4
    clean, robust = (fit_columns(found, each).coefficients for each in (ratios, spoiled))
    moved = found @ robust / (found @ clean) - 1
    assert abs(float(moved.mean())) < 0.005


def test_coefficients_are_never_negative():
    """A column that samples get faster with is left out."""
    count = 60
    column = np.linspace(1, 2, count)
    fit = fit_columns(np.stack([column, np.ones(count)], axis=1), 3 - column)
    assert (fit.coefficients >= 0).all() and fit.coefficients[0] == 0


def test_small_times_count_as_much_as_large_ones():
    """Errors are relative: a constant of 0.1 is found beside times of 0.1 to 100."""
    column = np.geomspace(0.001, 100, 60)
    noisy = (column + 0.1) * (1 + 0.01 * np.random.default_rng(0).standard_normal(60))
    fit = fit_columns(np.stack([column, np.ones(60)], axis=1), noisy)
    assert fit.coefficients[1] == pytest.approx(0.1, rel=0.02)


def test_the_same_samples_give_the_same_fit():
    one, other = fit_columns(*samples(60, noise=0.02)), fit_columns(*samples(60, noise=0.02))
    assert np.array_equal(one.coefficients, other.coefficients) and one.error == other.error


def test_too_few_samples_are_refused():
    assert fit_columns(*samples(FEWEST)).error.samples == FEWEST
    with pytest.raises(ValueError, match=f"{FEWEST - 1} samples are too few"):
        fit_columns(*samples(FEWEST - 1))


def test_the_error_of_predictions_by_hand():
    """10 % above, 10 % below, exact; the order of the three is kept."""
    error = error_of(np.array([1.1, 1.8, 4.0]), np.array([1.0, 2.0, 4.0]))
    assert (error.mean, error.spearman, error.samples) == (pytest.approx(0.2 / 3), pytest.approx(1), 3)
