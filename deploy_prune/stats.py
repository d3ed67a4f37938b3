"""Medians, percentiles and bootstrap intervals of timing samples: numbers in, numbers out."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from deploy_prune.values import Interval

Blocks = Sequence[Sequence[float]]
"""Samples of one file, a sequence per block, in any one unit of time."""

RESAMPLES = 2000
"""How many times values are drawn with replacement for an interval."""
Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution, which a two-sided 95 % interval takes."""
T_TABLE = (12.7062, 4.30265, 3.18245, 2.77645, 2.57058, 2.44691, 2.36462, 2.30600, 2.26216)
"""The 97.5 % quantiles of Student's t for 1 to 9 degrees of freedom."""
MANY = 1e5
"""Figures as large as this are written in millions: no file takes so many milliseconds, and all so many cycles."""
CONFIDENCE = 0.95
"""The share of cases in which an interval should hold the true value."""


def median(samples: Sequence[float]) -> float:
    """The middle sample, or the mean of the middle two.

    Raises:
        ValueError: no samples.
    """
    return percentile(samples, 50)


def percentile(samples: Sequence[float], percent: float) -> float:
    """Interpolate linearly between order statistics (Hyndman & Fan 1996, type 7: numpy's default).

    Raises:
        ValueError: no samples.
    """
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    position = (len(ordered) - 1) * percent / 100
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def p90(blocks: Blocks) -> float:
    """The time that nine of ten single inferences stay under, over all blocks."""
    return percentile([sample for block in blocks for sample in block], 90)


def median_of_blocks(blocks: Blocks) -> float:
    """The median of the blocks' medians, so that a block with more samples weighs no more than the others."""
    return median([median(block) for block in blocks])


def median_interval(blocks: Blocks, *, seed: int = 0) -> Interval:
    """The bootstrap interval of `median_of_blocks`.

    Whole blocks are drawn, not samples: samples of one block share its clock frequency and its neighbours, so
    that they are no independent evidence (a cluster bootstrap, Davison & Hinkley 1997, 3.8).
    """
    return bootstrap([median(block) for block in blocks], median, seed=seed)


def geometric_mean(values: Sequence[float]) -> float:
    """The mean of times or of their ratios, in which twice and half cancel out; of values above 0."""
    return math.exp(sum(map(math.log, values)) / len(values))


def write_percent(value: float, digits: int = 2) -> str:
    """Write a share from 0 to 1 as a percentage with so many digits after the point; any other number as it is."""
    return f"{value:.{digits}%}" if 0 <= value <= 1 else f"{value:.4g}"


def write_percent_with_interval(value: float, interval: Interval) -> str:
    """Write a share and its interval into one cell of a table: `91.20% [90.1%, 92.3%]`."""
    low, high = interval
    return f"{write_percent(value)} [{write_percent(low, 1)}, {write_percent(high, 1)}]"


def write_with_interval(value: float, interval: Interval) -> str:
    """Write a figure and its interval into one cell of a table: `0.812 [0.805, 0.820]`."""
    return f"{write_amount(value)} [{write_amount(interval[0])}, {write_amount(interval[1])}]"


def write_amount(value: float, digits: int = 3) -> str:
    """Write a figure to so many decimals, or what is counted by the million in millions: `4.213`, `98.662M`."""
    return f"{value:.{digits}f}" if abs(value) < MANY else f"{value / 1e6:.{digits}f}M"


def write_briefly(value: float, digits: int = 4) -> str:
    """Write a figure with so many digits in all, what is counted by the million in millions: `4.213`, `98.66M`."""
    return f"{value:.{digits}g}" if abs(value) < MANY else f"{value / 1e6:.{digits}g}M"


def word_ratio(interval: Interval) -> str:
    """Say what the interval of a ratio of times allows to: "faster", "slower", or "level" where it reaches 1."""
    low, high = interval
    if high < 1:
        return "faster"
    return "slower" if low > 1 else "level"


def quantile_of_t(degrees: int) -> float:
    """The 97.5 % quantile of Student's t: what bounds a 95 % interval of a mean, in standard errors of it.

    Nine from the tables, those of more degrees of freedom by Cornish and Fisher's expansion (Abramowitz & Stegun
    26.7.5), to within 1e-4: runtimes alone are installed without scipy.

    Raises:
        ValueError: no degrees of freedom.
    """
    if degrees < 1:
        raise ValueError("one value says nothing about scatter")
    if degrees <= len(T_TABLE):
        return T_TABLE[degrees - 1]
    z = Z95
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    corrections = (term * (1.0 / degrees) ** power for power, term in enumerate(terms, start=1))
    return z + float(sum(corrections))


def bootstrap(values: Sequence[float], statistic: Callable[[Sequence[float]], float], *, seed: int = 0) -> Interval:
    """The 95 % percentile interval of a statistic, from values drawn with replacement."""
    if len(set(values)) == 1:  # whatever is drawn is the same
        return statistic(values), statistic(values)
    draw = random.Random(seed)  # noqa: S311 - statistics, not secrets
    drawn = [statistic(draw.choices(values, k=len(values))) for _ in range(RESAMPLES)]
    tail = (1 - CONFIDENCE) / 2 * 100
    return percentile(drawn, tail), percentile(drawn, 100 - tail)
