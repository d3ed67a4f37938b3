"""Where figures lie: intervals over sittings, floors, and when more of the same would change nothing."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_prune.analysis.gating.counting import Counted, check_counts
from deploy_prune.analysis.gating.limits import (
    Check,
    Limits,
    Sitting,
    check_times,
    find_interval,
    is_decided,
)
from deploy_prune.errors import ConfigError

RATIOS = st.lists(st.floats(0.2, 5), min_size=2, max_size=12)


def sittings(*ratios: float, baseline: float = 10.0) -> list[Sitting]:
    return [Sitting(ratio, baseline) for ratio in (*ratios, *ratios)]


@given(RATIOS, st.floats(0.1, 10))
def test_an_interval_holds_the_geometric_mean_and_scales_with_its_values(values: list[float], scale: float) -> None:
    low, high = find_interval(values)
    assert low <= math.prod(values) ** (1 / len(values)) * (1 + 1e-9) and high * (1 + 1e-9) >= low
    assert find_interval([scale * value for value in values]) == pytest.approx((scale * low, scale * high))


def test_an_interval_is_students_on_logarithms() -> None:
    low, high = find_interval([1.0, math.e])
    half = 12.706204736432095 * (0.5**0.5) / 2**0.5  # t of 97.5 % and one degree of freedom
    assert (math.log(low), math.log(high)) == pytest.approx((0.5 - half, 0.5 + half))


def test_equal_values_are_their_own_interval() -> None:
    assert find_interval([1.25]) == find_interval([1.25, 1.25, 1.25]) == (1.25, 1.25)


@pytest.mark.parametrize(
    ("ratios", "side"),
    [((1.0, 1.01, 0.99, 1.0), "within"), ((1.2, 1.21, 1.19), "above"), ((1.0, 1.1, 0.9, 1.2), "open")],
)
def test_a_ratio_is_within_above_or_open(ratios: tuple[float, ...], side: str) -> None:
    (check,) = check_times(Limits(max_ratio=1.05), sittings(*ratios), "ms")
    assert (check.name, check.side, check.limit) == ("time / baseline", side, 1.05)


def test_what_is_slower_by_less_than_the_floor_is_within() -> None:
    fast = sittings(1.2, 1.21, 1.19, baseline=0.1)  # 0.02 ms slower
    (check,) = check_times(Limits(max_ratio=1.05, min_delta=0.1), fast, "ms")
    assert (check.side, check.limit) == ("within", pytest.approx(2.0))


def test_a_budget_is_of_the_candidates_own_time() -> None:
    _, check = check_times(Limits(budget=11.0), sittings(1.2, 1.21, 1.19), "ms")
    assert (check.name, check.side, check.unit) == ("time", "above", "ms")
    assert check.value == pytest.approx(12.0, rel=1e-3)


@given(size=st.integers(1, 10**9), limit=st.integers(1, 10**9))
def test_what_is_counted_is_above_or_within(size: int, limit: int) -> None:
    (check,) = check_counts(Limits(size_bytes=limit), Counted(size), 0)
    assert check.side == ("above" if size > limit else "within")
    assert check_counts(Limits(), Counted(size), size) == ()


def test_few_sittings_say_nothing_but_of_an_exact_device() -> None:
    one = [Sitting(1.0, 10.0)]
    assert [check.side for check in check_times(Limits(), one, "ms")] == ["open"]
    assert [check.side for check in check_times(Limits(), one, "cycles", fewest=1)] == ["within"]


def test_it_is_decided_when_all_is_within_or_anything_above() -> None:
    within, above, open_ = (Check("time", 1.0, 1.0, (1.0, 1.0), side) for side in ("within", "above", "open"))
    assert is_decided([within, within]) and is_decided([open_, above])
    assert not is_decided([within, open_])


@pytest.mark.parametrize(
    "wrong", [{"max_ratio": 0.0}, {"min_delta": -1.0}, {"budget": -2.0}, {"size_bytes": 0}, {"max_ratio": None}]
)
def test_limits_that_nothing_can_keep_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Limits(**wrong)  # type: ignore[arg-type]
