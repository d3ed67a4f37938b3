"""Every error a user can meet, and the exit code each kind ends the command with.

    DeployPruneError
    ├── TargetMissed         1   a gate, an accuracy floor or a budget was missed
    ├── InputError           2   wrong config, flag or input
    │   ├── ConfigError          a key, flag or value that does not exist or does not fit
    │   ├── UnknownName          no plugin, model or key of that name (closest one offered)
    │   ├── WeightsError         weights missing, corrupt or of another network
    │   ├── DataError            images or labels missing, unreadable or of the wrong kind
    │   ├── BudgetError          a budget that no plan can meet
    │   ├── PlanError            a plan that does not fit the network
    │   ├── TraceError           a network that cannot be traced
    │   ├── UnitError            figures of two units (milliseconds, cycles, bytes) that were to be compared
    │   ├── UntrustedCode        a record names a Python file, which nobody else has named
    │   ├── RecordError          a run folder or record that is damaged or of another schema
    │   └── NotProfiled          no milliseconds of this network on that target, or stale ones
    ├── Unavailable          3   a device, tool or dependency is not there
    │   ├── MissingDependency    a Python package of an extra is not installed
    │   ├── MissingLibrary       a library of the operating system is not installed
    │   ├── WorkerDied           a process that works for ours was killed, or memory ran out in it
    │   ├── ConnectionLost       a WorkerDied: the way to the process was cut, its device may be gone or switched off
    │   └── NotVerifiable        an exported file with an operator that nothing here can evaluate
    ├── ExportFailed         4   the converter failed
    ├── ParityFailed         4   the exported file computes something else than the network
    ├── Inconclusive         5   too noisy to say
    ├── NoSpeedUp            6   the pruned network is not faster
    ├── StorageError         7   the file system refused (full, read-only)
    ├── Diverged             8   a training ended in NaN or infinity
    └── OurFault            70   a cut network is not what was promised: a fault of deploy-prune

0 is success, 130 an interruption (Ctrl-C; 143 by SIGTERM, 129 where the terminal closes), 141 a stdout that nobody
reads any more, and 70 also any exception that is none of these: a fault of ours, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, ClassVar

INTERRUPTED = 130
"""The exit code of a command that was interrupted."""
UNHEARD = 141
"""The exit code of a command whose stdout was closed while it wrote, as of one that SIGPIPE ended (128 + 13)."""
OUR_FAULT = 70
"""The exit code of what is a fault of ours (EX_SOFTWARE of sysexits.h)."""

DEBIAN_PACKAGES: Mapping[str, str] = {
    "libstdc++.so.6": "libstdc++6",
    "libgcc_s.so.1": "libgcc-s1",
    "libgomp.so.1": "libgomp1",
    "libatomic.so.1": "libatomic1",
    "libz.so.1": "zlib1g",
    "libGL.so.1": "libgl1",
}
"""File names of system libraries that the packages of ours load -> the packages of Debian that bring them."""

_SHOWN = 20
"""How many known names a hint lists at the most."""


class DeployPruneError(Exception):
    """What went wrong and where; `hint` says what to do next.

    Args:
        message: one sentence without a full stop, with the path or name, the numbers and their units.
        hint: what to do next, in words that can be typed; empty where there is nothing to do.
    """

    exit_code: ClassVar[int] = 1
    """What the command line ends with."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors travel between our processes, whatever else their kinds are made with."""
        return _make_again, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


def _make_again(kind: type[DeployPruneError], args: tuple[Any, ...], fields: dict[str, Any]) -> DeployPruneError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error


class TargetMissed(DeployPruneError):
    """A gate, an accuracy floor or a budget was missed."""


class InputError(DeployPruneError):
    """Something the user handed in does not fit."""

    exit_code = 2


class ConfigError(InputError):
    """A key, flag or value that does not exist or does not fit."""


class UnknownName(InputError):
    """No plugin, model or key has that name.

    Args:
        kind: what the name should be of, such as "model".
        name: what was given.
        known: the names that there are; the closest is offered.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known, name = sorted(known), str(name)
        close = get_close_matches(name, known, n=1, cutoff=0.5)
        offer = f"did you mean '{close[0]}'? " if close else ""
        # A hundred names bury the one that was meant.
        shown = known if len(known) <= _SHOWN else [*get_close_matches(name, known, n=_SHOWN, cutoff=0.3), "..."]
        listed = f"known: {', '.join(shown)}" if known else "there are none"
        super().__init__(f"unknown {kind} '{name}'", hint=f"{offer}{listed}")


class WeightsError(InputError):
    """Weights are missing, corrupt or belong to another network."""


class DataError(InputError):
    """Images or labels are missing, unreadable or of the wrong kind."""


class BudgetError(InputError):
    """No plan can meet the budget."""


class PlanError(InputError):
    """The plan does not fit the network."""


class TraceError(InputError):
    """The network cannot be traced."""


class UnitError(InputError):
    """Two figures are of different units, such as milliseconds and cycles, and say nothing about one another."""


class UntrustedCode(InputError):
    """A record names a Python file that would be executed, and nobody else has named it."""


class RecordError(InputError):
    """A run folder or record is damaged, or written with another schema."""


class NotProfiled(InputError):
    """No milliseconds of this network on that target, or those of another version of its runtime."""


class Unavailable(DeployPruneError):
    """A device, tool or dependency is not there."""

    exit_code = 3


class MissingDependency(Unavailable):
    """A Python package is not installed.

    Args:
        package: its name, as pip knows it.
        extra: the extra of deploy-prune that installs it.
        device: the address of the device that lacks it; empty: this machine does.
    """

    def __init__(self, package: str, extra: str, device: str = "") -> None:
        super().__init__(
            f"the Python package '{package}' is not installed" + (f" on {device}" if device else ""),
            hint=f"deploy-prune doctor --device {device} --setup" if device else f"pip install 'deploy-prune[{extra}]'",
        )


class MissingLibrary(Unavailable):
    """A shared library of the operating system is not installed, without which a package cannot be loaded.

    Args:
        library: its file name, such as `libstdc++.so.6`.
    """

    def __init__(self, library: str) -> None:
        package = DEBIAN_PACKAGES.get(library)
        named = (
            f"apt install {package}"
            if package
            else f"find its package: apt install apt-file, apt-file search {library}"
        )
        message = f"the system library '{library}' is not installed, and a package that is needed cannot be loaded"
        super().__init__(message, hint=f"on Debian and Ubuntu: {named}; elsewhere, what brings the same file")


class WorkerDied(Unavailable):
    """A process that works for ours was killed, or memory ran out in it: what it was to do can be tried again.

    Args:
        message: see `DeployPruneError`.
        hint: see `DeployPruneError`.
        final: it was tried again already, and is not tried a third time.
    """

    def __init__(self, message: str, *, hint: str = "", final: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.final = final


class ConnectionLost(WorkerDied):
    """The way to a process that works for ours was cut."""


class NotVerifiable(Unavailable):
    """An exported file holds an operator that nothing on this machine can evaluate; the file may well be right."""


class ExportFailed(DeployPruneError):
    """The converter could not write the network in that format."""

    exit_code = 4


class ParityFailed(DeployPruneError):
    """The exported file computes something else than the network."""

    exit_code = 4


class Inconclusive(DeployPruneError):
    """The measurements are too noisy to say."""

    exit_code = 5


class NoSpeedUp(DeployPruneError):
    """The pruned network is not faster than the dense one."""

    exit_code = 6


class StorageError(DeployPruneError):
    """The file system refused to write."""

    exit_code = 7


class Diverged(DeployPruneError):
    """A training ended in NaN or infinity: its numbers are lost, what was finished before stays."""

    exit_code = 8


class OurFault(DeployPruneError):
    """Something is not what deploy-prune guarantees, whatever it was given."""

    exit_code = OUR_FAULT

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="this is a fault of deploy-prune: please report it with the network")
