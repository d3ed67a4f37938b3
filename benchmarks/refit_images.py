"""How many images a refit wants: accuracy without training and seconds, by the images that it looks at.

    python -m benchmarks.refit_images [--quick | --seeds SEED ... | --table] [--networks NAME ...]

CIFAR-10 networks cut by OBS to tight shares of their MACs, and refitted as a run does it, but for the number of
images. The seed draws these. Fifteen minutes a network on one core.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from functools import partial
from typing import Any

from benchmarks.recording import write
from benchmarks.subjects import cell, stored
from benchmarks.trained import DATA, SEEDS, Pruned, asked, images, judged, paired, seconds_told
from deploy_prune import plugins
from deploy_prune.graph.surgery import cut, kept_indices
from deploy_prune.pipeline.refit_stage import RefitPlan, refit_best
from deploy_prune.train.refit.walk import CutNetwork

TABLE = "refit_images"
SHARES = {"resnet20": (0.5, 0.35), "mobilenet_v2_72": (0.35, 0.25)}
IMAGES, USUAL = (256, 512, 1024, 2048), 512


def main() -> int:
    """Fill in the missing cells, then write the table."""
    more = argparse.ArgumentParser(add_help=False)
    more.add_argument("--networks", nargs="*", default=list(SHARES), choices=list(SHARES), metavar="NAME")
    todo = asked(__doc__, more)
    for name in () if todo.table_only else todo.rest.networks:
        pruned = Pruned.of(name, images())
        seconds_told(name, cell(TABLE, f"{name}-dense", partial(judged, pruned.network, pruned.data, {})))
        for seed, share in itertools.product(todo.seeds, SHARES[name]):
            missing = [count for count in IMAGES if stored(TABLE, _key(name, share, seed, count)) is None]
            against = _cut(pruned, share, seed) if missing else None
            for count in missing:
                key = _key(name, share, seed, count)
                assert against is not None
                seconds_told(key, cell(TABLE, key, partial(_refit, pruned, against, RefitPlan(seed, images=count))))
    return _write()


def _key(name: str, share: float, seed: int, count: int) -> str:
    return f"{name}-{share}-{seed}-{count}"


def _cut(pruned: Pruned, share: float, seed: int) -> CutNetwork:
    cost = pruned.cost()
    limit = share * pruned.whole(cost)
    keep = pruned.keep(plugins.build("methods", "obs").score(pruned.study(cost, limit, seed=seed)), cost, limit)
    small = cut(pruned.network, pruned.graph, keep)
    return CutNetwork(small, pruned.network, pruned.graph, kept_indices(pruned.graph, keep))


def _refit(pruned: Pruned, against: CutNetwork, plan: RefitPlan) -> dict[str, Any]:
    began = time.perf_counter()
    network, told = refit_best(against, pruned.data, plan)
    seconds = time.perf_counter() - began
    return judged(network, pruned.data, {"refit_s": seconds, "chosen": told.chosen})


def _write() -> int:
    tables: dict[str, Any] = {}
    for name, shares in SHARES.items():
        dense = stored(TABLE, f"{name}-dense")
        if dense:
            tables[name] = {"dense": dense["test"], "rows": [
                row for share in shares for count in IMAGES if (row := _row(name, share, count))
            ]}  # fmt: skip
    print(write(TABLE, f"python -m benchmarks.{TABLE}", {"data": DATA, "usual": USUAL, "tables": tables}))
    return 0


def _row(name: str, share: float, count: int) -> dict[str, Any] | None:
    """Each seed's accuracy, and its difference to the usual number of images, on the same test images."""
    cells = [(each, stored(TABLE, _key(name, share, seed, USUAL))) for seed in SEEDS
             if (each := stored(TABLE, _key(name, share, seed, count)))]  # fmt: skip
    if not cells:
        return None
    return {
        "share": share, "images": count, "test": [each["test"] for each, _ in cells],
        "to_usual": [paired(usual, each) for each, usual in cells if usual],
        "refit_s": [each["refit_s"] for each, _ in cells],
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
