"""Accuracy at equal *measured* LiteRT ms: LeGR in ms and in MACs, uniform, magnitude, slimming, Torch-Pruning.

    python -m benchmarks.equal_ms [--quick | --table | --plans]

ResNet-20 and MobileNetV2 (32 x 32) on CIFAR-10, at 0.5x and 0.35x of the dense network's time on LiteRT, one thread.
Every plan is aimed until the file of its widths, timed bracketed, takes the budget within 3 %; then it is cut, its
norms are measured anew, and it is trained 10k x 3. All arms of a seed see the same images; differences are paired on
the same 5,000 test images. LeGR is searched once per network, cost and seed, at 0.35x, and cut at both budgets.
Slimming trains 10 sparse epochs on the same 10,000 images first. Torch-Pruning 1.6.1 is run in eight configurations
(group norm and BN scale, global and local, free and rounded to 16); the one that is best on *validation* with the first
seed is its arm. Every plan and every cell is a file under `results/equal_ms/`. Two hours on two idle cores.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.recording import write
from benchmarks.subjects import STORE, cell, stored
from benchmarks.trained import DATA, RECIPE, SEEDS, Pruned, images, judged, paired, recipe, seconds_told
from deploy_prune import plugins
from deploy_prune.errors import DeployPruneError
from deploy_prune.latency.blueprint import converted
from deploy_prune.latency.model import LatencyCost
from deploy_prune.latency.profiling import Place, profiled
from deploy_prune.latency.store import opened
from deploy_prune.latency.timing import Timer, timer
from deploy_prune.methods.slimming import Slimming
from deploy_prune.ranking import read_scores, save_scores
from deploy_prune.surgery import cut
from deploy_prune.train import evaluate, fit, recalibrate_norms
from deploy_prune.values import Data, Network, Scores
from deploy_prune.weights import with_weights

TABLE = "equal_ms"
NETWORKS = ("resnet20", "mobilenet_v2")
SHARES = (0.5, 0.35)
OURS = ("legr in ms", "legr in MACs", "uniform", "magnitude", "slimming")
TORCH_PRUNING = {
    f"torch-pruning {importance} {scope}{' of 16' * bool(rounded)}": (importance, scope == "global", rounded)
    for importance in ("group norm", "BN scale")
    for scope in ("global", "local")
    for rounded in (None, 16)
}
PLACE = Place("litert")
WITHIN, ATTEMPTS = 0.03, 6
OPENINGS = 6
LEGR = {"candidates": 150, "population": 32, "tournament": 8, "images": 1000, "norm_images": 500}
SPARSE = {"epochs": 10, "images": RECIPE.images, "precision": "bf16"}
SCORES = Path("build") / "benchmarks" / "equal_ms"


@dataclass(frozen=True, eq=False)
class Subject:
    """A network with its latency model, and what times files of its widths."""

    name: str
    pruned: Pruned
    latency: LatencyCost
    timed: Callable[[np.ndarray], float]
    """Widths of the free groups -> measured time / time of the dense network."""

    @property
    def dense_ms(self) -> float:
        """What a ratio of 1 stands for."""
        return float(self.latency.model.profile.reference_ms)


def main() -> int:
    """Fill in the missing cells, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed")
    parser.add_argument("--table", action="store_true", help="train nothing, write the table of the cells there are")
    parser.add_argument("--plans", action="store_true", help="only make the plans: what wants a quiet machine")
    asked = parser.parse_args()
    if not asked.table:
        data = images()
        for name in NETWORKS:
            for seed in SEEDS[:1] if asked.quick else SEEDS:
                with _subject(name, data) as subject:
                    for share in SHARES:
                        _fill(subject, share, seed, plans_only=asked.plans)
    return _written()


@contextmanager
def _subject(name: str, data: Data) -> Iterator[Subject]:
    pruned = Pruned.of(name, data)
    with opened(STORE) as store:
        model = profiled(pruned.network, pruned.graph, PLACE, store)
    latency = LatencyCost.of(model, pruned.graph)
    format_ = plugins.load("skeletons", model.profile.drawing.format)
    with tempfile.TemporaryDirectory() as folder:
        (dense_file,) = converted(
            [pruned.network], Path(folder), plugins.build("skeletons", model.profile.drawing.format)
        )
    template = plugins.build("skeletons", model.profile.drawing.format).read(dense_file)
    lines = np.array(model.profile.drawing.lines)
    with timer(dense_file, format_.suffix, model.target, openings=OPENINGS) as timed:
        yield Subject(name, pruned, latency, _of_widths(timed, template, lines, latency))


def _of_widths(timed: Timer, template: Any, lines: np.ndarray, latency: LatencyCost) -> Callable[[np.ndarray], float]:
    return lambda widths: timed(template.resized(lines[:, 0] + lines[:, 1:] @ latency.whole(widths))).ratio


def _fill(subject: Subject, share: float, seed: int, *, plans_only: bool) -> None:
    arms: dict[str, Callable[[], dict[str, Any]]] = {
        arm: (lambda a=arm: _ours(subject, a, share, seed))
        for arm in OURS  # type: ignore[misc]
    }
    chosen = list(TORCH_PRUNING) if seed == SEEDS[0] else [_best_of_torch_pruning(subject.name, share)]
    for arm in filter(None, chosen):
        arms[arm] = lambda a=arm: _torch_pruning(subject, a, share)  # type: ignore[misc]
    for arm, plan in arms.items():
        key = _key(subject.name, share, arm, seed)
        found = cell(TABLE, f"plan-{key}", lambda p=plan: _or_reason(p))  # type: ignore[misc]
        if plans_only or "reason" in found:
            print(key, found.get("ratio") or found["reason"], flush=True)
            continue
        seconds_told(key, cell(TABLE, key, lambda a=arm, f=found: _trained(subject, a, f, seed)))  # type: ignore[misc]


def _key(name: str, share: float, arm: str, seed: int) -> str:
    return f"{name}-{share}-{arm.replace(' ', '_')}-{seed}"


def _or_reason(plan: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return plan()
    except DeployPruneError as error:
        return {"reason": error.message}


# --- our methods -----------------------------------------------------------------------------------------------


def _ours(subject: Subject, arm: str, share: float, seed: int) -> dict[str, Any]:
    scores = _scores(subject, arm, seed)
    pruned, graph = subject.pruned, subject.pruned.graph
    in_ms = arm == "legr in ms"
    macs = pruned.cost()
    named = [group for group in graph.free if group.name in scores.by_group]
    graph = graph if len(named) == len(graph.free) else _locked(graph, named)
    pruned = Pruned(pruned.network, graph, pruned.data, pruned.limits)
    cost = LatencyCost.of(subject.latency.model, graph) if in_ms else pruned.cost()
    places = [place for place, group in enumerate(subject.pruned.graph.free) if group in graph.free]
    dense = np.array([group.width for group in subject.pruned.graph.free])

    def at(limit: float) -> tuple[dict[str, tuple[int, ...]], np.ndarray]:
        keep = pruned.keep(scores, cost, limit)
        widths = dense.copy()
        widths[places] = [len(keep[group.name]) for group in graph.free]
        return keep, widths

    keep, widths, ratio = _aimed(subject, share, at, float(cost(np.array([group.width for group in graph.free]))))
    return {
        "ratio": ratio,
        "widths": widths.tolist(),
        "keep": {name: list(units) for name, units in keep.items()},
        "macs_kept": float(macs(widths)) / float(macs(dense)),
    }


def _locked(graph: Any, named: list[Any]) -> Any:
    from deploy_prune.soundness import lock

    return lock(graph, {group.name: "not scored" for group in graph.free if group not in named})


def _aimed(subject: Subject, share: float, at: Callable[[float], tuple[Any, np.ndarray]], whole: float) -> Any:
    """The plan whose file takes the share of the time, or comes closest: bisection by the model, then by the clock."""
    aim, best = share, None
    for _ in range(ATTEMPTS):
        keep, widths = at(_limit_for(subject, aim, at, whole))
        ratio = subject.timed(widths)
        if best is None or abs(ratio / share - 1) < abs(best[2] / share - 1):
            best = keep, widths, ratio
        if abs(ratio / share - 1) <= WITHIN / 3:
            break
        aim *= share / ratio
    return best


def _limit_for(subject: Subject, ratio: float, at: Callable[[float], tuple[Any, np.ndarray]], whole: float) -> float:
    """The limit at which the model predicts this ratio."""
    low, high = 0.0, whole * (1 - 1e-9)
    for _ in range(14):
        middle = (low + high) / 2
        try:
            _, widths = at(middle)
        except DeployPruneError:
            low = middle
            continue
        predicted = float(subject.latency(widths)) / subject.dense_ms
        low, high = (middle, high) if predicted < ratio else (low, middle)
    return high


def _scores(subject: Subject, arm: str, seed: int) -> Scores:
    """LeGR's and slimming's are kept: one search, one sparse training, both budgets."""
    method = arm.split(maxsplit=1)[0]
    path = SCORES / f"{subject.name}-{arm.replace(' ', '_')}-{seed}.safetensors"
    if not path.exists():
        save_scores(_scored(subject, arm, method, seed), path)
    return read_scores(path, subject.pruned.graph)


def _scored(subject: Subject, arm: str, method: str, seed: int) -> Scores:
    pruned = subject.pruned
    if method == "legr":
        cost, limit = pruned.cost(), _tightest_macs(subject)
        if arm.endswith("ms"):
            cost, limit = subject.latency, min(SHARES) * subject.dense_ms
        study = pruned.study(cost, limit, seed=seed, workers=plugins.build("workers", "local"))
        found: Scores = plugins.build("methods", "legr", LEGR).score(study)
        return found
    cost = pruned.cost()
    study = pruned.study(cost, 0.0, seed=seed)
    if method == "slimming":
        try:
            return Slimming(**SPARSE).score(study)  # type: ignore[arg-type]
        except DeployPruneError:  # a stream that it has no say in
            inner = Pruned(pruned.network, pruned.graph, pruned.data, type(pruned.limits)(scope="inner"))
            return Slimming(**SPARSE).score(inner.study(cost, 0.0, seed=seed))  # type: ignore[arg-type]
    scored: Scores = plugins.build("methods", method).score(study)
    return scored


def _tightest_macs(subject: Subject) -> float:
    """MACs at which uniform widths take the tightest budget, by the model: what a search in MACs aims at."""
    pruned = subject.pruned
    cost = pruned.cost()
    uniform = plugins.build("methods", "uniform").score(pruned.study(cost, 0.0, seed=0))

    def at(limit: float) -> tuple[Any, np.ndarray]:
        keep = pruned.keep(uniform, cost, limit)
        return keep, np.array([len(keep[group.name]) for group in pruned.graph.free])

    return _limit_for(subject, min(SHARES), at, pruned.whole(cost))


# --- Torch-Pruning ---------------------------------------------------------------------------------------------


def _torch_pruning(subject: Subject, arm: str, share: float) -> dict[str, Any]:
    def at(ratio: float) -> tuple[Any, np.ndarray]:
        module = _cut_by_torch_pruning(subject.pruned.network, arm, 1 - ratio)
        return ratio, _widths_of(module, subject)

    kept, widths, ratio = _aimed(subject, share, at, 1.0)
    macs = subject.pruned.cost()
    dense = np.array([group.width for group in subject.pruned.graph.free])
    return {
        "ratio": ratio,
        "widths": widths.tolist(),
        "channels_kept": kept,
        "macs_kept": float(macs(widths)) / float(macs(dense)),
    }


def _cut_by_torch_pruning(network: Network, arm: str, ratio: float) -> Any:
    import torch_pruning

    kind, everywhere, rounded = TORCH_PRUNING[arm]
    module = copy.deepcopy(network.module)
    importance = (
        torch_pruning.importance.BNScaleImportance()
        if kind == "BN scale"
        else torch_pruning.importance.GroupMagnitudeImportance(p=2)
    )
    classifier = [part for part in module.modules() if isinstance(part, torch.nn.Linear)]
    pruner = torch_pruning.pruner.BasePruner(
        module, torch.zeros(1, *network.input_shape), importance=importance, global_pruning=everywhere,
        pruning_ratio=ratio, round_to=rounded, ignored_layers=[*classifier, *_stream(network, module)],
        max_pruning_ratio=0.9,
    )  # fmt: skip
    pruner.step()
    return module


def _stream(network: Network, module: Any) -> list[Any]:
    """ResNet-20's shortcut is a table of channel numbers that Torch-Pruning cannot rewrite: its stream stays whole."""
    if not network.address.startswith("resnet"):
        return []
    return [part for name, part in module.named_modules() if name == "conv1" or name.endswith(".conv2")]


def _widths_of(module: Any, subject: Subject) -> np.ndarray:
    graph, parameters = subject.pruned.graph, dict(module.named_parameters())
    made = graph.made
    found = []
    for group in graph.free:
        member = next(each for each in group.members if (each.parameter, each.axis) in made)
        found.append(parameters[member.parameter].shape[member.axis] // group.channels_per_unit)
    return np.array(found)


def _best_of_torch_pruning(name: str, share: float) -> str | None:
    """On validation, with the first seed."""
    found = {arm: stored(TABLE, _key(name, share, arm, SEEDS[0])) for arm in TORCH_PRUNING}
    known = {arm: row["val"] for arm, row in found.items() if row}
    return max(known, key=lambda arm: known[arm]) if known else None


# --- training and the table ------------------------------------------------------------------------------------


def _trained(subject: Subject, arm: str, plan: dict[str, Any], seed: int) -> dict[str, Any]:
    pruned = subject.pruned
    if arm in TORCH_PRUNING:
        module = _cut_by_torch_pruning(pruned.network, arm, 1 - plan["channels_kept"])
        small = Network(pruned.network.address, module, pruned.network.input_shapes, pruned.network.classes)
    else:
        keep = {name: tuple(units) for name, units in plan["keep"].items()}
        weights = _scores(subject, arm, seed).weights or {}
        small = cut(with_weights(pruned.network, weights), pruned.graph, keep)
    again = recalibrate_norms(small, pruned.data, seed=seed)
    notes = {"recalibrated_val": evaluate(again, pruned.data.val, pruned.data).top1, "ratio": plan["ratio"]}
    return judged(fit(again, pruned.data, recipe(seed)), pruned.data, notes)


def _written() -> int:
    tables = {f"{name} at {share}x": _table(name, share) for name in NETWORKS for share in SHARES}
    result = {"data": DATA, "within": WITHIN, "legr": LEGR, "sparse": SPARSE, "tables": tables}
    print(write(TABLE, "python -m benchmarks.equal_ms", result, ("torch", "ai-edge-litert")))
    return 0


def _table(name: str, share: float) -> dict[str, Any]:
    best = _best_of_torch_pruning(name, share)
    rows: dict[str, Any] = {}
    base = {seed: stored(TABLE, _key(name, share, OURS[0], seed)) for seed in SEEDS}
    for arm in (*OURS, *([best] if best else [])):
        cells = {seed: found for seed in SEEDS if (found := stored(TABLE, _key(name, share, arm, seed)))}
        plan = stored(TABLE, f"plan-{_key(name, share, arm, SEEDS[0])}")
        if not cells:
            rows[arm] = {"reason": (plan or {}).get("reason", "not run")}
            continue
        rows[arm] = {
            "seeds": sorted(cells),
            "ratio": [found["ratio"] for found in cells.values()],
            "recalibrated_val": [found["recalibrated_val"] for found in cells.values()],
            "test": [found["test"] for found in cells.values()],
            "against_first": [paired(first, found) for seed, found in cells.items() if (first := base[seed])],
        }
    return rows


if __name__ == "__main__":
    sys.exit(main())
