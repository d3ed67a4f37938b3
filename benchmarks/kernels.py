"""Kernel sparsity on MobileNetV2 (32 x 32), CIFAR-10: DKP against masks by magnitude and against channels.

    python -m benchmarks.kernels [--table]

Half and three quarters of the kernels of every pointwise layer go (each is one weight there): those that DKP leaves
out, or the smallest ones of each layer. Beside them uniform widths (l2) at the same theoretical MACs, whose saving is
real. One seed; accuracy on test right after the cut, with norms measured anew, and after 10k x 3 at 0.05 with masks
applied after every step. Masked kernels are theoretical MACs; `benchmarks.sparse` counts what a runtime saves that
skips them. Half an hour on two idle cores.
"""

from __future__ import annotations

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
from deploy_prune.pipeline.stages import masked_macs
from deploy_prune.scoring.methods.dkp import Dkp
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.loop import fit
from deploy_prune.train.recalibration import recalibrate_norms
from deploy_prune.values import Network, Selection

TABLE, NETWORK, SEED = "kernels", "mobilenet_v2", SEEDS[0]
SPARSITIES = (0.5, 0.75)
SETTINGS = Dkp(steps=16)
DKP, MAGNITUDE, CHANNELS = "DKP (reconstructed)", "masks by magnitude", "channels, uniform widths"
ARMS = (DKP, MAGNITUDE, CHANNELS)


def main() -> int:
    """Fill in the missing cells, then write the table."""
    todo = asked(__doc__)
    if not todo.table_only:
        subject = Pruned.of(NETWORK, images())
        for sparsity in SPARSITIES:
            theoretical = 1.0
            for arm in ARMS:
                key = _key(arm, sparsity)
                row = cell(TABLE, key, lambda a=arm, s=sparsity, t=theoretical: _cell(subject, a, s, t))  # type: ignore[misc]
                theoretical = row["theoretical_macs_kept"] if arm == DKP else theoretical
                seconds_told(key, row)
    return _written()


def _key(arm: str, sparsity: float) -> str:
    return f"{arm.replace(' ', '_').replace(',', '')}-{sparsity}"


def _cell(subject: Pruned, arm: str, sparsity: float, theoretical: float) -> dict[str, Any]:
    began = time.monotonic()
    left = small(subject, _selected(subject, arm, sparsity, theoretical))
    seconds = time.monotonic() - began
    data, whole = subject.data, recount(subject.network).macs
    again = recalibrate_norms(left, data, seed=SEED)
    notes = {
        "seconds": seconds,
        "macs_kept": recount(left).macs / whole,
        "theoretical_macs_kept": (recount(left).macs - masked_macs(left)) / whole,
        "cut": evaluate(left, data.test, data).value,
        "recalibrated": evaluate(again, data.test, data).value,
    }
    return judged(fit(again, data, recipe(SEED)), data, notes)


def _selected(subject: Pruned, arm: str, sparsity: float, theoretical: float) -> Selection:
    cost = subject.cost()
    study = subject.study(cost, 0.0, seed=SEED)
    if arm == DKP:
        return dataclasses.replace(SETTINGS, rate=1 - sparsity).select(study, {})
    if arm == MAGNITUDE:
        return _smallest_masked(subject.network, sparsity)
    uniform = plugins.build("methods", "uniform").score(study)
    return Selection(subject.keep(uniform, cost, theoretical * subject.whole(cost)))


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
    rows: dict[str, Any] = {}
    for sparsity in SPARSITIES:
        cells = {arm: row for arm in ARMS if (row := stored(TABLE, _key(arm, sparsity)))}
        rows[str(sparsity)] = {
            arm: {
                **{name: value for name, value in row.items() if name != "hits"},
                "against_channels": paired(cells[CHANNELS], row) if CHANNELS in cells else None,
            }
            for arm, row in cells.items()
        }
    print(write(TABLE, "python -m benchmarks.kernels", {"data": DATA, "settings": vars(SETTINGS), "rows": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
