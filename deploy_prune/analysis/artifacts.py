"""Which artifacts a list of files and run folders comes to, and what is known of a file that no record tells of."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deploy_prune import plugins
from deploy_prune.analysis.describe import read_origin
from deploy_prune.analysis.readers import READERS, FileOrigin
from deploy_prune.errors import DeployPruneError, InputError, MissingDependency, RecordError
from deploy_prune.records import count_bytes, read_record, sha256
from deploy_prune.results import ShipResult
from deploy_prune.run_folder import RUN
from deploy_prune.timing.runtimes import RUNTIMES
from deploy_prune.values import Artifact, NetworkIdentity, Shipment, name_precision

logger = logging.getLogger(__name__)

Files = Sequence[Artifact | Path | str]
"""Artifacts, exported files, and run folders, each of which stands for the files that it exported last."""


@dataclass(frozen=True)
class Skipped:
    """An exported file of a run that is not timed here."""

    path: str
    reason: str


@dataclass(frozen=True)
class Choice:
    """The artifacts that a list of files and run folders comes to."""

    artifacts: tuple[Artifact, ...]
    """In the order that was given; those of a run format by format, the dense one first."""
    skipped: tuple[Skipped, ...] = ()


def choose_artifacts(files: Files) -> Choice:
    """The artifacts to time: each one as it is, each file described, in place of a run folder what it exported.

    Raises:
        InputError: a file that was named cannot be timed here, or none of a run's.
        RecordError: a folder that is no run, whose records are damaged, or that has exported nothing yet.
    """
    artifacts: list[Artifact] = []
    skipped: list[Skipped] = []
    for file in files:
        if not isinstance(file, Artifact) and is_run(Path(file)):
            exported = artifacts_of_run(Path(file))
            artifacts += exported.artifacts
            skipped += exported.skipped
            continue
        artifact = file if isinstance(file, Artifact) else describe_artifact(Path(file))
        if reason := explain_untimed(artifact):
            raise InputError(f"{artifact.path} is not timed: {reason}", hint="leave it out")
        artifacts.append(artifact)
    return Choice(tuple(artifacts), tuple(skipped))


def warn_of_skipped(choice: Choice) -> None:
    """Log a warning for every file of a run that is left out, with the reason."""
    for each in choice.skipped:
        logger.warning("skipped %s: %s", each.path, each.reason)


def is_run(path: Path) -> bool:
    """Whether that is a run folder by its looks: some formats are folders as well, but these have their suffix."""
    return path.is_dir() and path.suffix not in _list_runtimes()


def artifacts_of_run(run: Path) -> Choice:
    """What a run exported after its last round of training that got as far.

    Raises:
        RecordError: not a run folder, a damaged record, or nothing exported yet.
        InputError: an exported file is gone, or none can be timed here.
    """
    shipped = read_last_shipped(run)
    rows = [row for pair in zip(shipped.dense, shipped.pruned, strict=True) for row in pair]
    written = [(row.artifact, row) for row in rows if row.artifact is not None]
    if not written:
        hint = "write them with `deploy-prune export`, and name these files"
        raise RecordError(f"the run {run} exported no files", hint=hint)
    reasons = [(artifact, _explain_skipped(artifact, row)) for artifact, row in written]
    artifacts = tuple(artifact for artifact, reason in reasons if not reason)
    skipped = tuple(Skipped(artifact.path, reason) for artifact, reason in reasons if reason)
    if not artifacts:
        told = "; ".join(f"{Path(each.path).name}: {each.reason}" for each in skipped)
        raise InputError(f"no file of the run {run} can be timed here ({told})", hint="export another format")
    return Choice(artifacts, skipped)


def read_last_shipped(run: Path) -> ShipResult:
    """Read what a run exported after its last round of training that got as far, with the files where they are now.

    Raises:
        RecordError: not a run folder, a damaged record, or nothing exported yet.
    """
    if not (run / RUN).is_file():
        raise RecordError(f"{run} is no run folder", hint=f"it has no {RUN}; name the files themselves")
    number = _find_last_round(run)
    shipped, folder = read_record(run / f"shipped-{number}.json", ShipResult), run / f"export-{number}"
    return ShipResult(*(tuple(_move(row, folder) for row in rows) for rows in (shipped.dense, shipped.pruned)))


def _move(row: Shipment, folder: Path) -> Shipment:
    return replace(row, artifact=locate(row.artifact, folder)) if row.artifact else row


def locate(artifact: Artifact, folder: Path) -> Artifact:
    """An artifact of a record, in the folder where it is now: the record's path may be of before a run was moved."""
    return replace(artifact, path=str(folder / Path(artifact.path).name))


def describe_artifact(path: Path) -> Artifact:
    """What a file says of itself, where no record tells of it.

    Files that deploy-prune wrote name their network. Of others, or where the file cannot be read, the network is a
    network of its own; whether a damaged file runs, its runtime says.

    Raises:
        InputError: the file is missing, or no runtime reads that suffix.
    """
    runtimes = _list_runtimes()
    if not path.exists():
        raise InputError(f"{path} does not exist", hint="check the path, or export first")
    if path.suffix not in runtimes:
        hint = f"known: {', '.join(sorted(runtimes))}"
        raise InputError(f"no runtime for '{path.suffix}' files ({path})", hint=hint)
    readers = {plugins.load(READERS, name).suffix: name for name in plugins.list_names(READERS)}
    format_ = readers.get(path.suffix, path.suffix[1:])
    origin = _read_origin(path) if path.suffix in readers else FileOrigin()
    return Artifact(
        path=str(path),
        format=format_,
        network=NetworkIdentity(str(path.resolve()), origin.network_digest),
        runtime=runtimes[path.suffix],
        precision=name_precision(origin.weights_bytes),
        layout=None,
        input_shape=(),
        dynamic_batch=False,
        size_bytes=count_bytes(path),
        sha256=sha256(path),
        exporter="",
        seconds=0.0,
    )


def explain_untimed(artifact: Artifact) -> str:
    """Why times of an artifact say nothing, on whatever machine they are taken here; empty: they say something."""
    return plugins.load(RUNTIMES, artifact.runtime).untimed


def _find_last_round(run: Path) -> int:
    numbers = [record.stem.removeprefix("shipped-") for record in run.glob("shipped-*.json")]
    if not any(number.isdigit() for number in numbers):
        hint = "continue it with the command that began it"
        raise RecordError(f"the run {run} has exported no files yet", hint=hint)
    return max(int(number) for number in numbers if number.isdigit())


def _explain_skipped(artifact: Artifact, row: Shipment) -> str:
    """Why a run's file is left out; empty: it is not."""
    if row.status == "failed":
        return f"it failed verification: {row.reason.splitlines()[0] if row.reason else 'no reason given'}"
    if reason := explain_untimed(artifact):
        return reason
    if not Path(artifact.path).exists():  # an error, not a choice
        raise InputError(f"{artifact.path} does not exist", hint="restore it, or name the files that are there")
    try:
        plugins.build(RUNTIMES, artifact.runtime).version()
    except MissingDependency as error:
        return f"{error.message}: {error.hint}"
    return ""


def _list_runtimes() -> dict[str, str]:
    """Suffix -> the runtime plugin that runs such files."""
    return {suffix: name for name in plugins.list_names(RUNTIMES) for suffix in plugins.load(RUNTIMES, name).suffixes}


def _read_origin(path: Path) -> FileOrigin:
    """What a file says of where it is from; nothing where it cannot be read, as its runtime may run it all the same."""
    try:
        return read_origin(path)
    except DeployPruneError:
        return FileOrigin()
