"""60 networks of torchvision and timm, cut in halves and at random uneven widths: none may compute something else.

    python -m benchmarks.zoo

Each is settled as `inspect` does, every plan is checked as a run does, and the cut network is held against the dense
one with the removed channels at zero: random weights, float64, statistics of norms across channels held. A cut network
that answers all images alike would prove little: other widths are drawn until one does not. Images are 64 x 64 where a
network takes them. Resumes where it was stopped. About half an hour on two cores.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import torch

from benchmarks.recording import RESULTS, write
from deploy_prune import plugins
from deploy_prune.budget.costs import COSTS
from deploy_prune.budget.widths import dense_widths, kept_widths
from deploy_prune.errors import DeployPruneError
from deploy_prune.graph.law import measure_error, zero_removed
from deploy_prune.graph.recount import explain_difference, recount
from deploy_prune.graph.soundness import find, lock, settle
from deploy_prune.graph.surgery import cut
from deploy_prune.pipeline.inspection import locked_share
from deploy_prune.records import write_atomic
from deploy_prune.sources.networks import build_network
from deploy_prune.values import ChannelGraph, Keep, Network
from tests.support.laws import halves, inputs, lively, outputs, random_keep

TORCHVISION = """
alexnet vgg11_bn resnet18 resnext50_32x4d wide_resnet50_2 densenet121 squeezenet1_1 inception_v3 googlenet mobilenet_v2
mobilenet_v3_large mobilenet_v3_small mnasnet0_5 efficientnet_b0 efficientnet_v2_s regnet_y_400mf regnet_x_400mf
convnext_tiny shufflenet_v2_x1_0 maxvit_t
"""
TIMM = """
resnet26d resnetv2_50 seresnet50 ecaresnet26t skresnet18 resnest14d res2net50_26w_4s dla34 dla46_c hrnet_w18_small
dpn68 xception41 mobilenetv2_050 mobilenetv4_conv_small fbnetc_100 efficientnet_lite0 tf_efficientnetv2_b0 mixnet_s
ghostnet_100 lcnet_050 tinynet_e hardcorenas_a rexnet_100 semnasnet_075 regnetx_002 regnety_002 gernet_s repvgg_a0
cspresnet50 darknet53 ese_vovnet19b_dw selecsls42b convnext_atto convnextv2_atto edgenext_xx_small mobileone_s0
repghostnet_050 inception_next_atto mobilevit_xxs poolformer_s12
"""
ADDRESSES = [*(f"torchvision:{name}" for name in TORCHVISION.split()), *(f"timm:{name}" for name in TIMM.split())]
SEED, EXACT, CLASSES, SIDE = 0, 1e-6, 10, 64
DRAWS = 20
"""How many plans of widths are drawn at the most; random weights leave some cut networks without a sign of life."""
KEPT = RESULTS.parents[1] / "build" / "zoo.json"
"""What is done so far; the folder is not under version control."""


def main() -> int:
    """Cut every network; exits 1 where one is cut wrongly or cannot be traced."""
    rows: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for address in ADDRESSES:
        if address not in rows:
            rows[address] = _try_network(address)
            KEPT.parent.mkdir(exist_ok=True)
            text = json.dumps(rows)
            write_atomic(KEPT, lambda temporary, text=text: temporary.write_text(text))  # type: ignore[misc]
            print(address, rows[address], flush=True)
    wrong = [address for address in ADDRESSES if rows[address]["wrong"]]
    result = {"networks": {address: rows[address] for address in ADDRESSES}, "wrong": wrong, "seed": SEED}
    print(write("zoo", "python -m benchmarks.zoo", result, ("torch", "torchvision", "timm", "fvcore")))
    return int(bool(wrong))


def _build(address: str) -> Network:
    torch.manual_seed(SEED)
    try:
        return build_network(address, classes=CLASSES, input_shape=(3, SIDE, SIDE))
    except DeployPruneError:  # it wants images of its own size
        return build_network(address, classes=CLASSES)


def _try_network(address: str) -> dict[str, Any]:
    network = _build(address)
    count = recount(network)
    lively(network.module)
    began = time.perf_counter()
    graph = settle(network)
    settled_s = time.perf_counter() - began
    macs = plugins.build(COSTS, "macs").model(graph)
    dense = int(macs(dense_widths(graph.free)))
    halved = _try_cut(network, graph, halves(graph))
    tries = (_try_cut(network, graph, random_keep(graph, seed)) for seed in range(SEED, SEED + DRAWS))
    uneven = next((each for each in tries if each["spread"] > 0 or _is_wrong(each)), None)
    return {
        "side": network.input_shape[-1], "settled_s": settled_s, "groups": len(graph.groups),
        "free_groups": len(graph.free), "locked_share": locked_share(graph), "macs": dense,
        "fvcore": explain_difference(dense, count), "halves": halved, "uneven": uneven,
        "wrong": uneven is None or _is_wrong(halved) or _is_wrong(uneven),
    }  # fmt: skip


def _is_wrong(attempt: dict[str, Any]) -> bool:
    return attempt["error"] is None or attempt["error"] > EXACT


def _try_cut(network: Network, graph: ChannelGraph, keep: Keep) -> dict[str, Any]:
    """One cut, with what the check of the plan locks beside the graph."""
    locked = graph
    while broken := find(network, locked, keep):
        locked = lock(locked, broken)
        keep = {name: units for name, units in keep.items() if name not in broken}
    small = cut(network, locked, keep)
    error = measure_error(zero_removed(network, locked, keep), small)
    macs = plugins.build(COSTS, "macs").model(locked)
    kept = float(macs(np.asarray(kept_widths(locked.free, keep)))) / float(macs(dense_widths(locked.free)))
    return {
        "macs_kept": kept, "error": error, "spread": _measure_spread(small),
        "locked_by_the_plan": len(graph.free) - len(locked.free),
    }  # fmt: skip


def _measure_spread(network: Network) -> float:
    """How far the answers to two images are apart, as a share of the largest: 0 where they are the same."""
    with torch.no_grad():
        answers = outputs(network.module, inputs(network))
    return max(float((each[0] - each[1]).abs().max() / each.abs().max().clamp(min=1e-30)) for each in answers)


if __name__ == "__main__":
    sys.exit(main())
