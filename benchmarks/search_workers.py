"""Two processes of one thread against one, and against one process of two threads: time, and whether they agree.

    python -m benchmarks.search_workers

LeGR's search on ResNet-20 and MobileNetV2 (CIFAR-10, half the MACs), as many candidates as by default, 1,000 + 500
images; the three in turns, three times; ratios of a turn, their median. Gates: two workers find the identical result,
in at most 0.65x of the time of one, the start of their processes included. Twenty minutes on two idle cores.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from benchmarks.recording import write
from benchmarks.subjects import cell
from benchmarks.trained import BY_STEPS, Pruned, images
from deploy_prune import plugins
from deploy_prune.values import Data, Scores

TABLE = "search_workers"
NETWORKS = ("resnet20", "mobilenet_v2")
TURNS = 3
ARMS = {
    "one worker": {"processes": 1, "threads": 1},
    "two workers": {"processes": 2, "threads": 1},
    "one worker, two threads": {"processes": 1, "threads": 2},
}
SETTINGS = {
    "candidates": 150, "population": 32, "tournament": 8, "images": 1000, "norm_images": 500, "finalists": 0,
    **BY_STEPS, "steps": 0,
}  # fmt: skip
LIMIT = 0.65


def main() -> int:
    """Fill in the missing cells, then write the table; exits 1 where a gate fails."""
    data = images()
    rows = {name: cell(TABLE, name, partial(_row, name, data)) for name in NETWORKS}
    result = {"settings": SETTINGS, "turns": TURNS, "limit": LIMIT, "networks": rows}
    print(write(TABLE, "python -m benchmarks.search_workers", result, ("torch", "loky")))
    return int(not all(row["identical"] and row["two workers"]["ratio"] <= LIMIT for row in rows.values()))


def _row(name: str, data: Data) -> dict[str, Any]:
    subject = Pruned.of(name, data)
    seconds: dict[str, list[float]] = {arm: [] for arm in ARMS}
    scores: dict[str, Scores] = {}
    cost = subject.cost()
    for _ in range(TURNS):
        for arm, options in ARMS.items():
            workers = plugins.build("workers", "local", options)
            study = subject.study(cost, 0.5 * subject.whole(cost), seed=0, workers=workers)
            began = time.monotonic()
            scores[arm] = plugins.build("methods", "legr", SETTINGS).score(study)
            seconds[arm].append(time.monotonic() - began)
            print(arm, f"{seconds[arm][-1]:.1f} s", flush=True)
    one, two = scores["one worker"].by_group, scores["two workers"].by_group
    return {
        "identical": all(np.array_equal(one[name], two[name]) for name in one),
        **{
            arm: {
                "seconds": taken,
                "ratio": median(each / base for each, base in zip(taken, seconds["one worker"], strict=True)),
            }
            for arm, taken in seconds.items()
        },
    }


if __name__ == "__main__":
    sys.exit(main())
