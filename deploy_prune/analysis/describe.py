"""What an exported file needs and holds, and whether this machine's runtime opens it. Imports no torch.

Files are read with every offset checked; a runtime, whose native code a damaged file may end, opens them in a process
of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy_prune import plugins
from deploy_prune.analysis import doctor
from deploy_prune.analysis.readers import READERS, FileOrigin, FileReport
from deploy_prune.errors import DeployPruneError, InputError
from deploy_prune.timing.devices import THIS_MACHINE, Job, device_at
from deploy_prune.timing.runtimes import RUNTIMES


@dataclass(frozen=True)
class Opening:
    """What the runtime on this machine does with a file."""

    opens: bool | None
    """None: nothing here can tell."""
    detail: str
    """Runtime and version, or the reason."""
    exit_code: int = 0


@dataclass(frozen=True)
class FileDescription:
    """Everything that `deploy-prune doctor FILE` says."""

    path: str
    report: FileReport
    opening: Opening


def describe(path: Path | str) -> FileDescription:
    """Read an exported file, then have its runtime open it.

    Raises:
        InputError: missing, truncated, foreign, or of a format that nothing here reads.
        MissingDependency: the package that knows the format's names is not installed.
    """
    path = Path(path)
    report = read_report(path)
    return FileDescription(str(path), report, try_to_open(path, _find_reader(path).runtime))


def read_report(path: Path) -> FileReport:
    """What an exported file says of itself; nothing is run.

    Raises:
        InputError: missing, truncated, foreign, or of a format that nothing here reads.
        MissingDependency: the package that knows the format's names is not installed.
    """
    reader = _find_reader(path)
    with _tell_damage(path):
        report: FileReport = reader.read(path)
    return report


def read_origin(path: Path) -> FileOrigin:
    """What an exported file says of the network that it was made of; no process is started.

    Raises:
        InputError: missing, truncated, foreign, or of a format that nothing here reads.
        MissingDependency: the package that knows the format's names is not installed.
    """
    reader = _find_reader(path)
    with _tell_damage(path):
        origin: FileOrigin = reader.read_origin(path)
    return origin


@contextmanager
def _tell_damage(path: Path) -> Iterator[None]:
    """Tell whatever goes wrong while a file is read as InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", hint="check the path") from error
    # numbers of a damaged file lead anywhere within these
    except (ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise InputError(f"{path} is no readable {path.suffix} file: {error}", hint="export it again") from error


def try_to_open(path: Path, runtime: str) -> Opening:
    """Whether a runtime of ours opens a file."""
    if untimed := plugins.load(RUNTIMES, runtime).untimed:
        return Opening(None, untimed)
    ability = doctor.check_ability("runtimes", runtime)
    if not ability.available:
        return Opening(None, f"{', '.join(ability.missing)} not installed: {ability.install}")
    device = device_at(THIS_MACHINE)
    job = Job(path, runtime, threads=1, cores=device.cores(1), seed=0)
    try:
        with device.start(job) as worker:
            return Opening(opens=True, detail=f"{runtime} {worker.version}")
    except DeployPruneError as error:
        return Opening(opens=False, detail=error.message, exit_code=error.exit_code)


def _find_reader(path: Path) -> Any:
    if not path.exists():
        raise InputError(f"{path} does not exist", hint="check the path, or export first")
    readers = {
        reader.suffix: reader for reader in (plugins.build(READERS, name) for name in plugins.list_names(READERS))
    }
    if path.suffix not in readers:
        raise InputError(f"{path} is of no known format", hint=f"known: {', '.join(sorted(readers))}")
    return readers[path.suffix]
