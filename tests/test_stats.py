from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_prune import stats

TIMES = st.lists(st.floats(0.01, 1e3), min_size=1, max_size=30)


def test_percentile_interpolates_between_order_statistics():
    """Hyndman & Fan type 7: of 4 samples, the 90th percentile is 0.7 of the way from the third to the fourth."""
    assert stats.percentile([40, 10, 30, 20], 90) == pytest.approx(37)
    assert stats.percentile([40, 10, 30, 20], 0) == 10
    assert stats.percentile([40, 10, 30, 20], 100) == 40


def test_the_median_of_an_even_number_is_the_mean_of_the_middle_two():
    assert stats.median([1, 2, 4, 100]) == 3


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="no samples"):
        stats.median([])


def test_a_block_with_many_samples_weighs_no_more_than_the_others():
    """Block medians 1, 2 and 9: their median is 2, that of all samples pooled would be 9."""
    assert stats.median_of_blocks([[1], [2], [9] * 10]) == 2


def test_p90_pools_the_samples_of_all_blocks():
    assert stats.p90([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]) == pytest.approx(10)


def test_identical_blocks_have_an_interval_of_no_width():
    assert stats.median_interval([[2.0, 2.0]] * 12) == (2.0, 2.0)


def test_the_interval_of_scattered_blocks_lies_around_the_median():
    """Twelve blocks of 1..12 ms have the median 6.5; the exact 95 % order-statistic interval is (3, 10)."""
    low, high = stats.median_interval([[float(ms)] for ms in range(1, 13)])
    assert 2.5 <= low < 6.5 < high <= 10.5


def test_one_seed_gives_one_interval():
    blocks = [[float(ms)] for ms in range(1, 13)]
    assert stats.median_interval(blocks, seed=3) == stats.median_interval(blocks, seed=3)


@given(TIMES, st.floats(0, 100))
def test_a_percentile_is_never_outside_the_samples(samples, percent):
    assert min(samples) <= stats.percentile(samples, percent) * (1 + 1e-12)
    assert stats.percentile(samples, percent) <= max(samples) * (1 + 1e-12)


@pytest.mark.parametrize("degrees", [*range(1, 41), 59, 100, 1000])
def test_quantiles_of_t_are_those_of_scipy(degrees):
    from scipy.stats import t

    assert stats.quantile_of_t(degrees) == pytest.approx(float(t.ppf(0.975, degrees)), rel=1e-4)


def test_one_value_has_no_quantile():
    with pytest.raises(ValueError, match="one value"):
        stats.quantile_of_t(0)


def test_cycles_are_written_in_millions_and_milliseconds_to_three_decimals() -> None:
    assert stats.write_with_interval(4.2134, (4.2, 4.25)) == "4.213 [4.200, 4.250]"
    assert [stats.write_briefly(value) for value in (4.21345, 98_662_239.1)] == ["4.213", "98.66M"]
    assert stats.write_with_interval(98_662_239.1, (98_662_239.1, 98_700_000.0)) == "98.662M [98.662M, 98.700M]"
