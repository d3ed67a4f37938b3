"""Which files can be timed on this machine: single files, and what a run folder exported last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy_prune import plugins
from deploy_prune.errors import InputError, MissingDependency, RecordError
from deploy_prune.records import read_record
from deploy_prune.results import ShipResult
from deploy_prune.run_folder import RUN
from deploy_prune.timing.runtimes import RUNTIMES
from deploy_prune.values import Shipment


@dataclass(frozen=True)
class Skipped:
    """An exported file of a run that is not timed here."""

    path: str
    reason: str


@dataclass(frozen=True)
class Choice:
    """What a list of files and run folders comes to."""

    files: tuple[Path, ...]
    """In the order that was given; of a run format by format, the dense file first."""
    skipped: tuple[Skipped, ...] = ()


def choose(paths: Sequence[Path | str]) -> Choice:
    """The files to time: each file as it is, in place of a run folder its exported files that can be timed here.

    Raises:
        InputError: a file that was named cannot be timed here, or none of a run's.
        RecordError: a folder that is no run, whose records are damaged, or that has exported nothing yet.
    """
    files: list[Path] = []
    skipped: list[Skipped] = []
    for path in map(Path, paths):
        if is_run(path):
            found = of_run(path)
            files += found.files
            skipped += found.skipped
        else:
            runtime_of(path)
            files.append(path)
    return Choice(tuple(files), tuple(skipped))


def is_run(path: Path) -> bool:
    """Whether that is a run folder by its looks: some formats are folders as well, but these have their suffix."""
    return path.is_dir() and path.suffix not in _by_suffix()


def of_run(run: Path) -> Choice:
    """What a run exported after its last round of training that got as far.

    Raises:
        RecordError: not a run folder, a damaged record, or nothing exported yet.
        InputError: an exported file is gone, or none can be timed here.
    """
    if not (run / RUN).is_file():
        raise RecordError(f"{run} is no run folder", hint=f"it has no {RUN}; name the files themselves")
    number = _last_round(run)
    shipped = read_record(run / f"shipped-{number}.json", ShipResult)
    rows = [row for pair in zip(shipped.dense, shipped.pruned, strict=True) for row in pair]
    # A record's own path may be of before the run was moved.
    written = [
        (run / f"export-{number}" / Path(row.artifact.path).name, row) for row in rows if row.artifact is not None
    ]
    if not written:
        hint = "write them with `deploy-prune export`, and name these files"
        raise RecordError(f"the run {run} exported no files", hint=hint)
    reasons = {path: _why_not(path, row) for path, row in written}
    files = tuple(path for path, reason in reasons.items() if not reason)
    skipped = tuple(Skipped(str(path), reason) for path, reason in reasons.items() if reason)
    if not files:
        said = "; ".join(f"{Path(each.path).name}: {each.reason}" for each in skipped)
        raise InputError(f"no file of the run {run} can be timed here ({said})", hint="export another format")
    return Choice(files, skipped)


def _last_round(run: Path) -> int:
    numbers = [record.stem.removeprefix("shipped-") for record in run.glob("shipped-*.json")]
    if not any(number.isdigit() for number in numbers):
        hint = "continue it with the command that began it"
        raise RecordError(f"the run {run} has exported no files yet", hint=hint)
    return max(int(number) for number in numbers if number.isdigit())


def _why_not(path: Path, row: Shipment) -> str:
    """Why a run's file is left out; empty: it is not."""
    if row.status == "failed":
        return f"it failed verification: {row.reason.splitlines()[0] if row.reason else 'no reason given'}"
    if not times_here(path):
        return untimed(path)
    runtime_of(path)  # a file that is gone is an error, not a choice
    try:
        plugins.build(RUNTIMES, _by_suffix()[path.suffix]).version()
    except MissingDependency as error:
        return f"{error.message}: {error.hint}"
    return ""


def runtime_of(path: Path) -> str:
    """The runtime plugin that times files of this suffix.

    Raises:
        InputError: the file is missing, no runtime reads that suffix, or times taken here would say nothing.
    """
    by_suffix = _by_suffix()
    if not path.exists():
        raise InputError(f"{path} does not exist", hint="check the path, or export first")
    if path.suffix not in by_suffix:
        hint = f"known: {', '.join(sorted(by_suffix))}"
        raise InputError(f"no runtime for '{path.suffix}' files ({path})", hint=hint)
    if reason := untimed(path):
        raise InputError(f"{path} is not timed: {reason}", hint="leave it out")
    return by_suffix[path.suffix]


def times_here(path: Path) -> bool:
    """Whether times of a file of this suffix, taken on this machine, say something."""
    return not untimed(path)


def untimed(path: Path) -> str:
    """Why files of this suffix are not timed on this machine; empty: they are."""
    name = _by_suffix().get(path.suffix)
    return f"no runtime for '{path.suffix}' files" if name is None else plugins.load(RUNTIMES, name).untimed


def _by_suffix() -> dict[str, str]:
    return {suffix: name for name in plugins.names(RUNTIMES) for suffix in plugins.load(RUNTIMES, name).suffixes}
