"""Kernel sparsity on MobileNets (32 x 32), CIFAR-10: DKP against masks by magnitude and against channels.

    python -m benchmarks.kernels [--networks NAME ...] [--table]

75 and 85 % of the kernels of every pointwise layer go (each is one weight there): those that DKP leaves out, or the
smallest ones of each layer. Beside them channels by OBS at the same theoretical MACs, whose saving is real. One seed;
accuracy on test right after the cut, with norms measured anew, refitted as a run does it (masked layers over the inputs
that each row still has), and then trained, 10k x 3, with masks applied after every step. Masked kernels are theoretical
MACs; `benchmarks.sparse` counts what a runtime saves that skips them. Half an hour a network on one core.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import time
from typing import Any

import torch
from torch import nn

from benchmarks.recording import write
from benchmarks.selections import small
from benchmarks.subjects import cell, stored
from benchmarks.trained import DATA, SEEDS, Pruned, asked, images, judged, paired, recipe, seconds_told
from deploy_prune import plugins
from deploy_prune.graph.recount import recount
from deploy_prune.graph.surgery import kept_indices
from deploy_prune.pipeline.refit_stage import RefitPlan, refit_best
from deploy_prune.pipeline.stages import masked_macs
from deploy_prune.scoring.methods.dkp import Dkp
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.loop import fit
from deploy_prune.train.recalibration import recalibrate_norms
from deploy_prune.train.refit.walk import CutNetwork
from deploy_prune.values import Network, Selection

TABLE, SEED = "kernels", SEEDS[0]
NETWORKS = ("mobilenet_v2_72", "mobilenet_v1_72")
SPARSITIES = (0.75, 0.85)
SETTINGS = Dkp(steps=16)
DKP, MAGNITUDE, CHANNELS = "DKP (reconstructed)", "masks by magnitude", "channels by OBS"
ARMS = (DKP, MAGNITUDE, CHANNELS)


def main() -> int:
    """Fill in the missing cells, then write the table."""
    more = argparse.ArgumentParser(add_help=False)
    more.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS, metavar="NAME")
    todo = asked(__doc__, more)
    for name in () if todo.table_only else todo.rest.networks:
        subject = Pruned.of(name, images())
        cell(TABLE, f"{name}-dense", lambda s=subject: judged(s.network, s.data, {}))  # type: ignore[misc]
        for sparsity in SPARSITIES:
            theoretical = 1.0
            for arm in ARMS:
                key = _key(name, arm, sparsity)
                row = cell(TABLE, key, lambda a=arm, s=sparsity, t=theoretical, n=subject: _cell(n, a, s, t))  # type: ignore[misc]
                theoretical = row["theoretical_macs_kept"] if arm == DKP else theoretical
                seconds_told(key, row)
    return _written()


def _key(name: str, arm: str, sparsity: float) -> str:
    return f"{name}-{arm.replace(' ', '_').replace(',', '')}-{sparsity}"


def _cell(subject: Pruned, arm: str, sparsity: float, theoretical: float) -> dict[str, Any]:
    began = time.monotonic()
    chosen = _select(subject, arm, sparsity, theoretical)
    seconds = time.monotonic() - began
    left = small(subject, chosen)
    data, whole = subject.data, recount(subject.network).macs
    again = recalibrate_norms(left, data, seed=SEED)
    against = CutNetwork(left, subject.network, subject.graph, kept_indices(subject.graph, chosen.keep))
    refitted, told = refit_best(against, data, RefitPlan(SEED))
    notes = {
        "seconds": seconds,
        "macs_kept": recount(left).macs / whole,
        "theoretical_macs_kept": (recount(left).macs - masked_macs(left)) / whole,
        "cut": evaluate(left, data.test, data).value,
        "recalibrated": evaluate(again, data.test, data).value,
        "refitted": evaluate(refitted, data.test, data).value,
        "chosen": told.chosen,
    }
    return judged(fit(refitted, data, recipe(SEED, precision="auto")), data, notes)


def _select(subject: Pruned, arm: str, sparsity: float, theoretical: float) -> Selection:
    cost = subject.cost()
    limit = theoretical * subject.whole(cost)
    study = subject.study(cost, limit, seed=SEED)
    if arm == DKP:
        return dataclasses.replace(SETTINGS, rate=1 - sparsity).select(study, {})
    if arm == MAGNITUDE:
        return _smallest_masked(subject.network, sparsity)
    return Selection(subject.keep(plugins.build("methods", "obs").score(study), cost, limit))


def _smallest_masked(network: Network, sparsity: float) -> Selection:
    masks = {}
    for name, part in network.module.named_modules():
        if isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1):
            sizes = part.weight.detach().abs()
            kept = math.ceil((1 - sparsity) * sizes.numel())
            mask = torch.zeros(sizes.numel(), dtype=torch.bool)
            mask[sizes.flatten().topk(kept).indices] = True
            masks[f"{name}.weight"] = mask.reshape(sizes.shape)
    weights = dict(network.module.named_parameters())
    return Selection({}, masks, {name: weights[name].detach() * mask for name, mask in masks.items()})


def _written() -> int:
    tables: dict[str, Any] = {}
    for name in NETWORKS:
        dense = stored(TABLE, f"{name}-dense")
        cells = {(sparsity, arm): row for sparsity in SPARSITIES for arm in ARMS
                 if (row := stored(TABLE, _key(name, arm, sparsity)))}  # fmt: skip
        if dense and cells:
            rows = [{"sparsity": sparsity, "by": arm, **{key: value for key, value in row.items() if key != "hits"},
                     "to_dense": paired(dense, row)} for (sparsity, arm), row in cells.items()]  # fmt: skip
            tables[name] = {"dense": dense["test"], "rows": rows}
    result = {"data": DATA, "settings": vars(SETTINGS), "tables": tables}
    print(write(TABLE, "python -m benchmarks.kernels", result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
