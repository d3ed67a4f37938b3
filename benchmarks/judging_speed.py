"""How much faster images are judged as `evaluate` does it than in torch's usual way, on the CPU, in turns.

    python -m benchmarks.judging_speed

The usual way: images channels first, batch norms as modules, 256 images of 32 x 32 (64 of 224 x 224) at once. Ours:
channels last, norms folded, as many at once as stay in a processor's cache. Three minutes on an idle machine.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.recording import write
from benchmarks.trained import dense
from deploy_prune import stats
from deploy_prune.graph.fold_norms import find_foldable, fold_modules
from deploy_prune.train.layout import count_judged_at_once

TABLE = "judging_speed"
JUDGED = ("resnet20", "resnet56", "mobilenet_v1_72", "mobilenet_v2_72", "mobilenet_v2_imagenet")
ROUNDS, IMAGES = 7, {32: 512, 224: 64}
USUAL = 256
"""Images at once in the usual way."""
WAYS = ("usual", "ours")


def main() -> int:
    """Time every network, and write the table; exits 1 where one is judged more slowly."""
    rows = {name: _time(name) for name in JUDGED}
    for name, row in rows.items():
        print(name, row["ratio"], row["interval"], flush=True)
    print(write(TABLE, f"python -m benchmarks.{TABLE}", {"networks": rows}))
    return int(any(row["ratio"] > 1 for row in rows.values()))


def _time(name: str) -> dict[str, Any]:
    network = dense(name)
    (shape,) = network.input_shapes
    images = torch.randn(IMAGES[shape[-1]], *shape, generator=torch.Generator().manual_seed(0))
    module = network.module.eval()
    folded = fold_modules(copy.deepcopy(module), find_foldable(network))
    last = [
        each.contiguous(memory_format=torch.channels_last)
        for each in images.split(count_judged_at_once(shape, images.device))
    ]
    ways = dict(zip(WAYS, (partial(_run_s, module, images.split(USUAL)), partial(_run_s, folded, last)), strict=True))
    rounds = [{way: run() for way, run in ways.items()} for _ in range(ROUNDS + 1)][1:]
    ratios = [each["ours"] / each["usual"] for each in rounds]
    ms = {way: [1000 * each[way] / len(images) for each in rounds] for way in WAYS}
    return {"ms": ms, "ratio": stats.median(ratios), "interval": stats.bootstrap(ratios, stats.median, seed=0)}


def _run_s(module: nn.Module, batches: Sequence[Tensor]) -> float:
    began = time.perf_counter()
    with torch.inference_mode():
        for batch in batches:
            module(batch)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
