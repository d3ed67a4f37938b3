"""A run and a front that are made by hand, with everything a page can show."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from finished import PLAN, RUN

from deploy_prune.analysis.explain import keep_explanations
from deploy_prune.analysis.explanation import Explanation
from deploy_prune.analysis.layer_times import LayerTime
from deploy_prune.analysis.report import SUMMARY
from deploy_prune.analysis.slowdown import LayerPair, Loss, OffStair, TimeShare
from deploy_prune.records import write_record
from deploy_prune.results import RefitResult, RunSummary
from deploy_prune.search_results import FRONT, Front, FrontPoint
from deploy_prune.values import GroupCurve, LayerRefit, Target

HOSTILE = "<img src=x onerror=\"document.title='taken'\"></script><script>document.title='taken'</script>"
"""A name that takes over a page that does not escape it."""
CURVES = (
    GroupCurve("stem", (1, 2, 4), (0.3, 0.1, 0.0), (1.6, 1.6, 2.0), "ms"),
    GroupCurve("body", (1, 3, 6), (0.5, 0.02, 0.0), (1.2, 1.5, 2.0), "ms"),
)
REFIT = RefitResult(
    images=512, images_sha256="ab" * 32,
    layers=(LayerRefit("body", 0.4, 0.01, 0.1, 250.0, 4096, kept=True), LayerRefit("fc", skipped="nothing changed")),
    errors={"refit": 0.02, "refit, norms measured": 0.03}, chosen="refit", seconds=3.0, val=RUN.trained.val,
)  # fmt: skip


def rich(name: str = "stem") -> RunSummary:
    """The finished run with curves and a refit; its first group is called so."""
    groups = (dataclasses.replace(RUN.plan.groups[0], name=name), *RUN.plan.groups[1:])
    curves = (dataclasses.replace(CURVES[0], name=name), *CURVES[1:])
    plan = dataclasses.replace(RUN.plan, groups=groups, curves=curves, plan=dataclasses.replace(PLAN, network="net"))
    return dataclasses.replace(RUN, plan=plan, cut=dataclasses.replace(RUN.cut, refit=REFIT))


def make_run(folder: Path, *, name: str = "stem") -> Path:
    """A run folder, and what `explain` left in it."""
    asked = {"model": f"net.py:{name}", "data": "digits", "budget": "0.5x", "method": "obs", "plan_sha256": "0"}
    write_record(folder / "run.json", asked, dict)
    write_record(folder / SUMMARY, rich(name))
    keep_explanations(folder, [explain_by_hand(name)])
    return folder


def explain_by_hand(name: str) -> Explanation:
    """Two files of two layers, one of which is off its stair."""
    before = LayerTime(name, "CONV_2D", "CONV_2D", "convolution", 1.5, 900, 100, 3, 32, place=0)
    after = dataclasses.replace(before, ms=0.75, channels_out=17)
    gone = LayerTime("pad", "PAD", "PAD", "move", 0.5, 0, 10, place=1)
    return Explanation(
        "elsewhere/dense.tflite", "elsewhere/pruned.tflite", Target("local", "litert", "2.3.0", 1, "fp32"), 0.5,
        (0.48, 0.52), 2.0, 1.0, 0.4, (LayerPair(before, after, (Loss("stair", 0.1),)), LayerPair(gone, None)), (),
        (OffStair(name, 17, 16, 16, 0.75),), TimeShare(0.0, ()), TimeShare(0.0, ()), TimeShare(0.0, ()),
        TimeShare(0.0, ()), "by hand", (), "It is twice as fast",
    )  # fmt: skip


def make_front(folder: Path, budgets: tuple[str, ...] = ("4ms", "3ms", "2ms"), unit: str = "ms") -> Path:
    """A front's folder with a run per budget."""
    write_record(folder / "run.json", {"model": "net.py:build", "data": "digits", "budget": budgets[-1]}, dict)
    points = [FrontPoint("dense", "", budgets[0], 1.0, (1.0, 1.0), 8.0, (8.0, 8.0), 0.9, (0.87, 0.93), 0.9, 10**6,
                         50_000)]  # fmt: skip
    for number, budget in enumerate(budgets):
        make_run(folder / budget)
        ratio = 0.5 - 0.1 * number
        points.append(FrontPoint("pruned", budget, budget, ratio, (ratio - 0.01, ratio + 0.01), 8 * ratio,
                                 (8 * ratio - 0.1, 8 * ratio + 0.1), 0.89 - 0.01 * number, (0.85, 0.92), 0.89,
                                 400_000, 20_000))  # fmt: skip
    write_record(folder / FRONT, Front("net.py:build", "digits", "obs", tuple(points), unit=unit))
    return folder
