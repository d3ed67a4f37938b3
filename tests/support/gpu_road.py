"""Everything that trains, judges, measures norms, scores, selects or searches, each once on a network of stripes."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from pretended import GPU, PretendedGpu, WrongPlace
from studies import FAST, stack, stripes, study
from torch import Tensor

from deploy_prune import plugins
from deploy_prune.graph import trace
from deploy_prune.graph.flat_network import flatten
from deploy_prune.graph.surgery import cut, kept_indices
from deploy_prune.processes.workers import WORKERS
from deploy_prune.scoring.methods import METHODS
from deploy_prune.scoring.sensitivity import sensitivity
from deploy_prune.train.accelerator import find_device, move_network
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.fitness import Exam, judge_candidate, prepare_examiner
from deploy_prune.train.loop import fit
from deploy_prune.train.recalibration import recalibrate_norms
from deploy_prune.train.recipe import Hooks, Recipe
from deploy_prune.train.refit.settings import RefitSettings
from deploy_prune.train.refit.walk import CutNetwork, draw_refit_images, refitted
from deploy_prune.values import Network, Widths

DATA = stripes(images=96)
PLAIN = Recipe(epochs=1, batch_size=48, precision="fp32")
EXAM = Exam(images=20, norm_images=20, steps=2)


def masked_stack() -> Network:
    """A stack that lacks every other kernel of the second convolution."""
    network = stack()
    mask = torch.ones_like(network.module.get_parameter("1.0.weight"), dtype=torch.bool)
    mask[::2] = False
    return dataclasses.replace(network, masks={"1.0.weight": mask})


def fit_by_teacher(network: Network) -> Network:
    """The teacher is the caller's and lies on the CPU."""
    return fit(network, DATA, dataclasses.replace(PLAIN, distill=0.5), hooks=Hooks(teacher=stack(seed=1)))


def refit_cut(network: Network) -> Network:
    graph = trace(network)
    keep = {graph.free[2].name: tuple(range(0, 20, 2))}
    few = RefitSettings(images=30, targets="chosen")
    scene = CutNetwork(cut(network, graph, keep), network, graph, kept_indices(graph, keep))
    small, told = refitted(scene, draw_refit_images(DATA, few), settings=few)
    if not any(layer.kept for layer in told):
        raise WrongPlace("no layer has new weights")
    return small


def cut_and_judge(network: Network) -> float:
    graph = trace(network)
    return judge_candidate(prepare_examiner(network, graph, DATA, EXAM), {graph.free[0].name: tuple(range(6))}).loss


def score(method: str, **options: Any) -> Callable[[Network], Mapping[str, Tensor] | None]:
    def by_method(network: Network) -> Mapping[str, Tensor] | None:
        scorer: Any = plugins.build(METHODS, method, {**FAST.get(method, {}), **options})
        scores = scorer.score(study(network, DATA))
        assert all(isinstance(values, np.ndarray) for values in scores.by_group.values())
        return scores.weights

    return by_method


def select(method: str, **options: Any) -> Callable[[Network], Mapping[str, Tensor]]:
    def by_method(network: Network) -> Mapping[str, Tensor]:
        selector: Any = plugins.build(METHODS, method, {**FAST[method], **options})
        subject = study(network, DATA)
        widths: Widths = {group.name: group.width // 2 for group in subject.graph.free}
        selection = selector.select(subject, widths)
        return {**(selection.weights or {}), **{f"{name} mask": mask for name, mask in selection.masks.items()}}

    return by_method


def select_on_operators(network: Network) -> tuple[int, ...]:
    """A selection follows its operators: were they left on the CPU, it would work there and nobody would notice."""
    flat = flatten(network, ["1.0.weight"], batch=16)
    if flat.device != find_device(network.module):
        raise WrongPlace(f"the operators of a network on {find_device(network.module)} compute on {flat.device}")
    part = flat.part(flat.outputs, (flat.image,))
    return tuple(part((flat.images(torch.zeros(16, 3, 8, 8)),), flat.tensors)[0].shape)


def measure_sensitivity(network: Network) -> float:
    workers: Any = plugins.build(WORKERS, "local", {"processes": 1})
    return sensitivity(network, DATA, workers, shares=(0.5,), exam=dataclasses.replace(EXAM, steps=0)).loss


@dataclasses.dataclass(frozen=True)
class Stretch:
    """A part of the road: what is done, and to which network."""

    do: Callable[[Network], Any]
    network: Callable[[], Network] = stack
    repeatable: bool = True
    """Two walks give the same numbers; not where the fastest arithmetic is measured."""


ROAD: Mapping[str, Stretch] = {
    "fit": Stretch(lambda network: fit(network, DATA, PLAIN)),
    "fit with a teacher": Stretch(fit_by_teacher),
    "fit with adamw": Stretch(lambda network: fit(network, DATA, dataclasses.replace(PLAIN, optimizer="adamw"))),
    "fit with masks": Stretch(lambda network: fit(network, DATA, PLAIN), masked_stack),
    "evaluate": Stretch(lambda network: evaluate(network, DATA.val, DATA).loss),
    "recalibrate norms": Stretch(lambda network: recalibrate_norms(network, DATA, images=40)),
    "refit": Stretch(refit_cut),
    "cut, tune and judge a candidate": Stretch(cut_and_judge),
    "sensitivity": Stretch(measure_sensitivity),
    "magnitude": Stretch(score("magnitude")),
    "slimming": Stretch(score("slimming")),
    "legr": Stretch(score("legr")),
    "operators": Stretch(select_on_operators),
    "dcp": Stretch(select("dcp")),
    "dcp with heads trained together": Stretch(select("dcp", finetune_epochs=1), repeatable=False),
    "dkp": Stretch(select("dkp")),
}


def walk(name: str, device: torch.device) -> Any:
    """One part of the road, on a device."""
    stretch = ROAD[name]
    return stretch.do(move_network(stretch.network(), device))


def main() -> None:
    """Walk the parts that are named, on the pretended GPU."""
    with PretendedGpu():
        for name in sys.argv[1:]:
            walk(name, GPU)


if __name__ == "__main__":
    main()
