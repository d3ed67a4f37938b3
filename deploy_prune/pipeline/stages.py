"""The stages of a run, each (context) -> result; whatever is larger than a record is a checkpoint in the run folder."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from deploy_prune.analysis.artifacts import explain_untimed, locate
from deploy_prune.budget.latency.profiling import profile_network
from deploy_prune.budget.latency.store import open_store
from deploy_prune.errors import OurFault
from deploy_prune.graph import trace
from deploy_prune.graph.law import check_law
from deploy_prune.graph.recount import explain_difference, recount
from deploy_prune.graph.soundness import list_rescalings
from deploy_prune.graph.surgery import cut, kept_indices
from deploy_prune.pipeline.config import RunConfig
from deploy_prune.pipeline.context import RunContext, start_network
from deploy_prune.pipeline.plan_stage import SCORED, count_macs
from deploy_prune.pipeline.preflight import check_budgets
from deploy_prune.pipeline.priced import place_of, timing_device
from deploy_prune.pipeline.refit_stage import find_better_refit, refit_cut
from deploy_prune.records import read_record
from deploy_prune.results import (
    BenchResult,
    CutResult,
    DenseResult,
    PlanResult,
    ProfileResult,
    ShipResult,
    TestResult,
    TrainResult,
)
from deploy_prune.sources import checkpoint
from deploy_prune.sources.unit_numbers import in_own_numbers
from deploy_prune.timing.bench import time_in_turns
from deploy_prune.train.accelerator import describe_accelerator, move_network
from deploy_prune.train.evaluation import compare_in_pairs, evaluate
from deploy_prune.train.loop import fit
from deploy_prune.train.recalibration import recalibrate_norms
from deploy_prune.train.recipe import Recipe
from deploy_prune.train.refit.walk import CutNetwork
from deploy_prune.train.targets import describe_judgement
from deploy_prune.values import Budget, ImageSet, Network, Quality, prefix_tasks

logger = logging.getLogger(__name__)


def profile(context: RunContext, budgets: Sequence[Budget]) -> ProfileResult:
    """Time the network at many widths, as `deploy-prune profile` does, and refuse budgets that no plan can meet.

    Raises:
        BudgetError: a budget is out of reach.
        Inconclusive: the machine is too noisy.
    """
    began, config = time.monotonic(), context.config
    told = prefix_tasks("profiled", context.progress)
    with open_store(config.store) as store:
        model = profile_network(start_network(context), context.graph, place_of(config), store, progress=told)
    check_budgets(context, budgets)
    table, error = model.profile, model.error
    return ProfileResult(
        table.address, model.target, table.reference, table.unit, error.samples, error.mean, time.monotonic() - began
    )


def train_dense(context: RunContext) -> DenseResult:
    """Train the dense network if it has no weights yet, and judge it."""
    began = time.monotonic()
    network, config = move_network(start_network(context), context.accelerator), context.config
    source = _source(config)
    if config.pretrain is not None:
        resume = context.folder.path / "dense-training.safetensors"
        network = fit(network, context.data, config.pretrain, hooks=context.tasked, checkpoint=resume,
                      progress=prefix_tasks("dense", context.progress))  # fmt: skip
        source = f"trained here, {config.pretrain.epochs} epochs"
    checkpoint.save(network, context.folder.path / "dense")
    if context.base is not None:
        judged = read_record(context.base.path / "dense.json", DenseResult)
        val, as_built = judged.val, judged.weights_as_built
    else:
        val, as_built = _judge(context, network, context.data.val, "dense"), is_as_built(config)
    where, told = describe_accelerator(context.accelerator), describe_judgement(network, context.tasked, context.data)
    return DenseResult(recount(network), val, source, time.monotonic() - began, where, as_built, told)


def is_as_built(config: RunConfig) -> bool:
    """Whether a run prunes the weights that the model source built."""
    return config.weights is None and config.pretrain is None and not Path(config.model).is_dir()


def _judge(context: RunContext, network: Network, split: ImageSet, stage: str) -> Quality:
    """How good a network is on a split, by the run's task or the caller's metric; `stage` is what progress calls it."""
    told = prefix_tasks(stage, context.progress)
    return evaluate(network, split, context.data, hooks=context.against_dense, progress=told)


def _source(config: RunConfig) -> str:
    """Where the dense weights came from, before any training here."""
    if Path(config.model).is_dir():
        return f"those of the run folder {config.model}"
    if config.weights is not None:
        return config.weights.name
    if is_as_built(config):
        logger.warning("neither weights nor [pretrain] are given: pruning the weights that %s came with", config.model)
    return "the model source's own, as it built them (neither weights nor [pretrain] were given)"


def shrink(context: RunContext, decided: PlanResult) -> CutResult:
    """Cut physically, hold the result against what was promised, estimate the norms' statistics anew, judge.

    Raises:
        OurFault: the cut network is not what the trace of the dense one promised.
        TraceError: it computes something else.
    """
    network = context.network(SCORED if (context.folder.path / SCORED).exists() else "dense")
    graph, keep = trace(network), in_own_numbers(network, decided.plan.keep)
    small = cut(network, graph, keep)
    law_error, rescalings = check_law(network, graph, keep, small), list_rescalings(network, graph, keep)
    predicted, count = count_macs(graph)(keep), recount(small)
    check_sizes((predicted, count_macs(trace(small))({})), (_count_params(network), count.params))
    straight = _judge(context, small, context.data.val, "cut")
    again, refit, images = None, None, context.config.recalibrate_images
    if context.config.refit:
        small, refit = refit_cut(context, CutNetwork(small, network, graph, kept_indices(graph, keep)))
        refit = dataclasses.replace(refit, val=_judge(context, small, context.data.val, "cut"))
    elif images:
        small = recalibrate_norms(small, context.data, images=images, seed=context.config.seed)
        again = _judge(context, small, context.data.val, "cut")
    checkpoint.save(small, context.folder.path / "cut")
    kernels = count.macs - masked_macs(small) if small.masks else None
    return CutResult(
        count,
        predicted,
        straight,
        again,
        kernels,
        law_error,
        explain_difference(predicted, count),
        rescalings,
        refit,
    )


def masked_macs(network: Network) -> int:
    """Multiply-adds with weights that are masked: saved in theory alone."""
    positions: Counter[str] = Counter()
    for layer in trace(network).layers:
        positions[layer.weight] += layer.positions
    return sum(positions[name] * int((~mask).sum()) for name, mask in network.masks.items())


def check_sizes(macs: tuple[int, int], params: tuple[int, int]) -> None:
    """Our own guarantee: a cut network is smaller, and exactly as large as predicted.

    Args:
        macs: of the cut network, as the dense one's trace predicts them and as its own trace counts them.
        params: of the dense network and of the cut one.

    Raises:
        OurFault: it is not.
    """
    if macs[0] != macs[1]:
        raise OurFault(f"the cut network has {macs[1]:,} MACs, {macs[0]:,} were predicted")
    if params[1] >= params[0]:
        raise OurFault(f"the cut network has {params[1]:,} parameters, the dense one {params[0]:,}")


def _count_params(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.module.parameters())


def train(context: RunContext, number: int, recipe: Recipe | None) -> TrainResult:
    """One round of fine-tuning; where it ends below the refitted network, that one goes on in its place."""
    began = time.monotonic()
    network = context.network("cut" if number == 1 else f"round-{number - 1}")
    if recipe is not None:
        hooks = context.against_dense
        if recipe.distill and hooks.teacher is None:
            hooks = context.taught_by_dense
        resume = context.folder.path / f"training-{number}.safetensors"
        network = fit(network, context.data, recipe, hooks=hooks, checkpoint=resume,
                      progress=prefix_tasks(f"trained-{number}", context.progress))  # fmt: skip
    if recipe is None and number == 1:
        val = read_record(context.folder.path / "cut.json", CutResult).judged
    else:
        val = _judge(context, network, context.data.val, f"trained-{number}")
    better = find_better_refit(context, val)
    checkpoint.save(context.network("cut") if better else network, context.folder.path / f"round-{number}")
    where, epochs = describe_accelerator(context.accelerator), recipe.epochs if recipe else 0
    return TrainResult(better or val, epochs, time.monotonic() - began, where, val if better else None)


def test(context: RunContext, number: int) -> TestResult:
    """Dense and pruned on the test images; the dense network once, in whatever rounds and runs of a front."""

    def of(name: str) -> Quality:
        return _judge(context, context.network(name), context.data.test, f"test-{number}")

    before = (context.base or context.folder).stage("dense-test", Quality, lambda: of("dense"))
    after = of(f"round-{number}")
    difference, interval = compare_in_pairs(before, after)
    return TestResult(before, after, difference, interval)


def time_files(context: RunContext, number: int, shipped: ShipResult) -> BenchResult:
    """Every format's dense and pruned file, in turns on the same cores; what only runs elsewhere is left out."""
    pairs = [pair for pair in zip(shipped.dense, shipped.pruned, strict=True)
             if "failed" not in {row.status for row in pair}]  # fmt: skip
    folder = context.folder.path / f"export-{number}"
    artifacts = [locate(row.artifact, folder) for pair in pairs for row in pair if row.artifact]
    artifacts = [artifact for artifact in artifacts if not explain_untimed(artifact)]
    if not artifacts or not context.config.threads:
        return BenchResult(())
    progress = prefix_tasks(f"timed-{number}", context.progress)
    device, threads = timing_device(context.config), context.config.threads
    return BenchResult(time_in_turns(artifacts, device, threads=threads, progress=progress))
