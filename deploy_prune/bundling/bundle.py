"""Makes a bundle of finished runs: their verified files in the forms that apps take, golden pairs, and a manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deploy_prune.bundling.apps import APPS, Draft, list_places
from deploy_prune.bundling.golden import answer, draw_pixels, find_constants, preprocess
from deploy_prune.bundling.manifest import Group, ImageInput, Manifest, Output, read_manifest
from deploy_prune.bundling.order import BundleOrder, check_order, list_formats, name_variants
from deploy_prune.bundling.runs import BundledRun, check_alike, read_run
from deploy_prune.bundling.signing import read_private_key
from deploy_prune.bundling.soc_groups import check_group
from deploy_prune.bundling.writing import Writing, place_golden
from deploy_prune.errors import DeployPruneError, InputError
from deploy_prune.formats.tensor_names import give_names
from deploy_prune.records import write_atomic
from deploy_prune.values import COLORS, Progress, quiet

if TYPE_CHECKING:
    import numpy as np


def bundle(order: BundleOrder, out: Path, *, progress: Progress = quiet) -> Manifest:
    """Make a bundle.

    Args:
        order: what goes into it.
        out: the folder that it is written to, all at once; one that is there must be a bundle, which it replaces.
        progress: told which variant is run on the golden images.

    Raises:
        ConfigError: a name, an app, a format or a group that cannot be.
        RecordError, InputError: a run is not finished, not verified, changed since, or no variant of the same task.
        MissingDependency: no file of a variant can be run here, or nothing signs.
        StorageError: the folder is somebody else's, or the disk refuses.
    """
    check_order(order, out)
    key = read_private_key(order.signing_key) if order.signing_key else None
    runs = tuple(read_run(run, list_formats(order)) for run in order.runs)
    check_alike(runs)
    names = name_variants(order.runs)
    taken, pixels = _describe_input(runs[0])
    inputs = preprocess(pixels, taken)
    answers = {}
    for number, (name, run) in enumerate(zip(names, runs, strict=True)):
        answers[name] = _answer(run, pixels, inputs)
        progress("golden pairs", number + 1, len(runs))
    outputs = _describe_outputs(runs, list(answers.values()))
    golden = tuple(place_golden(pixels, inputs, answers, outputs))
    by_folder = dict(zip(order.runs, names, strict=True))
    groups = tuple(Group(check_group(soc), by_folder[run]) for soc, run in order.groups)
    draft = Draft(order.name, dict(zip(names, runs, strict=True)), groups, golden, order.formats)
    _check_apps(order.apps, draft)
    written = Writing(draft, taken, outputs, order, key)
    write_atomic(out, written.write)
    return read_manifest(out)


def _check_apps(apps: Sequence[str], draft: Draft) -> None:
    """Refuse a variant that one of the apps could not run."""
    for app in apps:
        placed = {place.variant for place in list_places(APPS[app], draft)}
        if lacking := [name for name in draft.variants if name not in placed]:
            wanted = " or ".join(draft.formats or APPS[app].formats)
            message = f"{draft.variants[lacking[0]].folder} has no {wanted} file, which the {app} app would run"
            raise InputError(message, hint=f"export it, or name the apps that it is for: --app {_name_other(app)}")


def _name_other(app: str) -> str:
    return next((other for other in APPS if other != app), app)


def _describe_input(run: BundledRun) -> tuple[ImageInput, np.ndarray]:
    channels, height, width = run.files[0].artifact.input_shape
    assert run.form.normalisation
    (name,) = give_names("input", run.form.input_names, 1)
    shape = (channels, height, width)
    colors = COLORS.get(channels, f"{channels} channels")
    return ImageInput(name, shape, colors, *find_constants(run.form.normalisation)), draw_pixels(shape)


def _describe_outputs(runs: Sequence[BundledRun], answers: Sequence[Sequence[np.ndarray]]) -> tuple[Output, ...]:
    """What the variants give, which is the same for all.

    Raises:
        InputError: it is not, or the labels are not as many as the scores.
    """
    shapes = [[tuple(each.shape[1:]) for each in given] for given in answers]
    for run, own in zip(runs, shapes, strict=True):
        if own != shapes[0]:
            message = f"{runs[0].folder} and {run.folder} are no variants of one task: they give {shapes[0]} and {own}"
            raise InputError(message, hint="make a bundle of each")
    names = give_names("output", runs[0].form.output_names, len(shapes[0]))
    outputs = tuple(Output(name, shape) for name, shape in zip(names, shapes[0], strict=True))
    _check_labels(runs[0], outputs)
    return outputs


def _check_labels(run: BundledRun, outputs: Sequence[Output]) -> None:
    labels, shapes = run.form.labels, [each.shape for each in outputs]
    if labels and len(shapes) == 1 and len(shapes[0]) == 1 and shapes[0][0] != len(labels):
        message = f"{run.folder} knows {len(labels)} labels, and its network gives {shapes[0][0]} scores"
        raise InputError(message, hint="prune it with data that have a label per score")


def _answer(run: BundledRun, pixels: np.ndarray, inputs: np.ndarray) -> tuple[np.ndarray, ...]:
    """What the verified file that is closest to the network answers, of those that can be run here.

    Raises:
        InputError: none of them can, with each reason.
    """
    reasons = []
    for file in sorted(run.files, key=lambda each: each.parity.max_error):
        artifact = file.artifact
        assert artifact.layout
        try:
            return answer(Path(artifact.path), artifact.runtime, pixels=pixels, taken=inputs, layout=artifact.layout,
                          baked=artifact.baked)  # fmt: skip
        except DeployPruneError as error:
            reasons.append(f"{Path(artifact.path).name}: {error.message}")
    hint = "install its runtime: `deploy-prune doctor` says how"
    raise InputError(f"no file of {run.folder} can be run here ({'; '.join(reasons)})", hint=hint)
