"""What a finished run gives to a bundle: its pruned files where they are verified, and everything known of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy_prune.analysis.artifacts import read_last_shipped
from deploy_prune.analysis.report import SUMMARY
from deploy_prune.errors import ConfigError, InputError
from deploy_prune.records import read_record, sha256
from deploy_prune.results import RunSummary
from deploy_prune.run_folder import FORM
from deploy_prune.values import AppForm, Artifact, Measurement, Parity, Quality


@dataclass(frozen=True)
class BundledFile:
    """A verified file of a run."""

    artifact: Artifact
    parity: Parity
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True)
class BundledRun:
    """A run, as a bundle takes it."""

    folder: Path
    quality: Quality
    """How good the pruned network is, on test images."""
    weights: str
    """Where the dense network's weights came from."""
    form: AppForm
    files: tuple[BundledFile, ...]


def read_run(run: Path, formats: Sequence[str]) -> BundledRun:
    """Read a run.

    Args:
        run: its folder.
        formats: the formats that are wanted, of which it may have some.

    Raises:
        RecordError: no run folder, one that is not finished, or damaged records.
        InputError: a wanted file was not verified, is gone, or was changed since; or there is none at all.
        ConfigError: its network takes no image, or its normalisation is not known.
    """
    summary = read_record(run / SUMMARY, RunSummary)
    rows = [row for row in read_last_shipped(run).pruned if row.format in formats]
    files = []
    for row in rows:
        artifact, parity = row.artifact, row.parity
        if row.status != "verified" or artifact is None or parity is None:
            reason = row.reason.splitlines()[0] if row.reason else row.status
            message = f"the {row.format} file of {run} was not verified: {reason}"
            raise InputError(message, hint="export it anew where its runtime is installed, or leave the format out")
        _check_unchanged(artifact)
        name = Path(artifact.path).name
        taken = tuple(each for each in summary.bench.measurements if Path(each.artifact).name == name)
        files.append(BundledFile(artifact, parity, taken))
    if not files:
        wanted = ", ".join(formats)
        raise InputError(f"{run} has no file in any of these formats: {wanted}", hint=f"prune --targets {wanted}")
    form = read_record(run / FORM, AppForm)
    _check_image(run, form, files[0].artifact)
    return BundledRun(run, summary.test.pruned, summary.dense.weights, form, tuple(files))


def _check_unchanged(artifact: Artifact) -> None:
    path = Path(artifact.path)
    if not path.exists():
        raise InputError(f"{path} does not exist", hint="restore it, or run again")
    if sha256(path) != artifact.sha256:
        raise InputError(f"{path} is not what was verified: it has changed since", hint="restore it, or run again")


def _check_image(run: Path, form: AppForm, artifact: Artifact) -> None:
    if len(artifact.input_shape) != 3 or artifact.layout is None:
        shape = "x".join(map(str, artifact.input_shape))
        raise ConfigError(f"the network of {run} takes {shape}, no image", hint="bundle its files by hand")
    if form.normalisation is None:
        hint = "a bundle says how pixels become its input: prune with --data"
        raise ConfigError(f"the normalisation of {run} is not known", hint=hint)


def check_alike(runs: Sequence[BundledRun]) -> None:
    """Refuse runs of which one cannot take another's place in an app.

    Raises:
        InputError: they differ in what they take or give, or a network is there twice.
    """
    first = runs[0]
    for other in runs[1:]:
        differing = {
            "the images that they take": first.files[0].artifact.input_shape != other.files[0].artifact.input_shape,
            "their mean and std": first.form.normalisation != other.form.normalisation,
            "their labels": first.form.labels != other.form.labels,
            "what they are measured by": first.quality.name != other.quality.name,
        }
        if reasons := [what for what, differs in differing.items() if differs]:
            message = f"{first.folder} and {other.folder} are no variants of one task: they differ in {reasons[0]}"
            raise InputError(message, hint="make a bundle of each")
    digests = [each.files[0].artifact.network.key for each in runs]
    for index, digest in enumerate(digests):
        if digest in digests[:index]:
            twice = runs[digests.index(digest)].folder, runs[index].folder
            raise InputError(f"{twice[0]} and {twice[1]} are the same network", hint="leave one out")
