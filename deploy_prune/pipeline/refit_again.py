"""The refit of what was cut before: a run's newest network, or a cut network in a folder, against the dense one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from deploy_prune.errors import ConfigError
from deploy_prune.graph import trace
from deploy_prune.pipeline.refit_stage import RefitPlan, refit_best
from deploy_prune.pipeline.run_images import read_run_images
from deploy_prune.records import write_record
from deploy_prune.results import RefitResult
from deploy_prune.run_folder import RUN, read_asked, task_asked_for
from deploy_prune.sources import checkpoint
from deploy_prune.sources.data import check_fit, has_labels, read_data
from deploy_prune.sources.networks import rebuild_network
from deploy_prune.sources.weights import load_weights
from deploy_prune.train.accelerator import AUTO, choose_accelerator, move_network
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.recipe import Hooks
from deploy_prune.train.refit.walk import CutNetwork
from deploy_prune.train.tasks import NONE, Task, choose_task
from deploy_prune.trust import refuse_untrusted
from deploy_prune.values import BY_DATA, Data, Network, Progress, Quality, quiet, told_in_lines

RECORD = "refit.json"
DENSE, LAYERS = "dense", "refit"
"""Where a run keeps the network that it began with, and finished layers are left."""


@dataclass(frozen=True)
class RefitAgain:
    """What the refit of a network that was cut before came to."""

    network: str
    """The folder that it was read from."""
    refit: RefitResult
    before: Quality | None
    """Its quality on validation before the refit, without labels its agreement with the dense network; None: a record
    of before, of images without labels."""


def refit(
    run: Path | str,
    out: Path | str,
    *,
    data: str | None = None,
    dense: Path | None = None,
    accelerator: str = AUTO,
    progress: Progress = told_in_lines,
) -> RefitAgain:
    """Refit a network that was cut before, and write it to a folder of its own.

    Args:
        run: a run, whose newest network is taken, or a folder with a cut network.
        out: the folder that the refitted network and its record are written to.
        data: the address of the images; None: those that the run was made with.
        dense: the weights of the dense network; None: those that the run has kept.
        accelerator: where: `auto`, `cpu`, `cuda`, `mps`.
        progress: told layer by layer.

    Raises:
        ConfigError: nothing was cut, or nobody says what the dense weights or the images are.
        DeployPruneError: a network or its images are damaged, or do not fit.
    """
    folder = Path(run)
    cut = open_cut(folder, dense, accelerator)
    return refit_again(folder, cut, read_images(folder, cut, data), Path(out), progress=progress)


def open_cut(folder: Path, dense: Path | None, accelerator: str = AUTO) -> CutNetwork:
    """Open a cut network and the dense one that it was cut from.

    Args:
        folder: a run, whose newest network is taken, or a folder with a cut network.
        dense: the weights of the dense network; None: those that the run has kept.
        accelerator: where both go: `auto`, `cpu`, `cuda`, `mps`.

    Raises:
        ConfigError: nothing was cut, or nobody says what the dense weights are.
        RecordError, WeightsError: a network is damaged, or the weights are of another one.
    """
    where = choose_accelerator(accelerator)
    small = move_network(checkpoint.load(folder), where)
    if not small.kept and not small.masks:
        raise ConfigError(f"{folder} holds a network that nothing was cut from", hint="give one that was pruned")
    reference = move_network(_find_dense(folder, small, dense), where)
    return CutNetwork(small, reference, trace(reference), small.kept)


def _find_dense(folder: Path, small: Network, dense: Path | None) -> Network:
    if dense is not None:
        height, width = small.input_shape[1:]
        shape = (small.input_shape[0], height, width)
        return load_weights(rebuild_network(small.address, small.classes, shape, small.options), dense)
    if (folder / DENSE).is_dir():
        return checkpoint.load(folder / DENSE)
    hint = "give the weights that it was cut from: --dense FILE"
    raise ConfigError(f"{folder} does not hold the dense network", hint=hint)


def read_images(folder: Path, cut: CutNetwork, address: str | None) -> Data:
    """The images that were named, else those that the run was made with.

    Raises:
        ConfigError: none were named, and the folder is no run.
        UntrustedCode: the run's images come from a Python file that nobody has named.
        DataError: they cannot be read.
    """
    height, width = cut.small.input_shape[1:]
    if address is not None:
        return read_data(address, size=(height, width))
    if not (folder / RUN).is_file():
        raise ConfigError(f"{folder} is no run, which would know its images", hint="name them: --data images:DIR")
    asked = read_asked(folder)
    refuse_untrusted((asked.get("data", ""),))
    return read_run_images(asked.get("data", ""), asked.get("data_options"), (height, width), [folder])


def refit_again(folder: Path, cut: CutNetwork, data: Data, out: Path, *, progress: Progress = quiet) -> RefitAgain:
    """Refit a network that was cut before, and write it to a folder of its own.

    Args:
        folder: where it was read from.
        cut: the network, and the dense one.
        data: its images; their labels judge, if there are any, and do nothing else; without, the dense network does.
        out: the folder that the refitted network and its record are written to.
        progress: told layer by layer.

    Raises:
        DataError: network and images do not belong together.
        RecordError: `out` holds layers of another refit.
    """
    check_fit(cut.small, data)
    hooks = Hooks(task=_find_task(folder, cut, data), teacher=cut.reference)
    before = evaluate(cut.small, data.val, data, hooks=hooks, progress=progress)
    network, refit = refit_best(cut, data, RefitPlan(folder=out / LAYERS), progress)
    refit = replace(refit, val=evaluate(network, data.val, data, hooks=hooks, progress=progress))
    checkpoint.save(network, out)
    told = RefitAgain(str(folder), refit, before)
    write_record(out / RECORD, told)
    return told


def _find_task(folder: Path, cut: CutNetwork, data: Data) -> Task:
    """The run's own task, if these images will do for it, else that of the images."""
    asked = task_asked_for(folder) if (folder / RUN).is_file() else BY_DATA
    return choose_task(asked if has_labels(data) or asked == NONE else BY_DATA, data, cut.reference.classes)
