"""What this machine can build, export, run and time, and the pip command for what is missing. Imports no torch.

A plugin's packages are those of the extra that bears its name in the installed metadata (`[tflite]` is what
`exporters/tflite` needs); what works on networks needs `[prune]` as well. So a new plugin needs no entry here.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata

from deploy_prune import plugins
from deploy_prune.timing import conditions
from deploy_prune.values import Conditions

_DISTRIBUTION = "deploy-prune"
_PRUNE = "prune"
_KINDS: Mapping[str, tuple[str, ...]] = {
    "exporters": (_PRUNE,),
    "runtimes": (),
    "models": (_PRUNE,),
    "datasets": (_PRUNE,),
    "methods": (_PRUNE,),
}
"""Kind -> extras that all its plugins need."""
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[^]]*\])?[^;]*;.*extra\s*==\s*['\"](?P<extra>[^'\"]+)['\"]")


@dataclass(frozen=True)
class Ability:
    """One plugin, and whether its packages are installed."""

    kind: str
    name: str
    available: bool
    versions: Mapping[str, str]
    """Installed distribution -> version."""
    missing: tuple[str, ...]
    install: str
    """The command that installs what is missing; empty when nothing is."""


@dataclass(frozen=True)
class Machine:
    """What a measurement on this machine depends on."""

    python: str
    system: str
    processor: str
    cores: int
    """Cores this process may use."""
    memory_bytes: int | None
    conditions: Conditions
    advice: tuple[str, ...]
    """What stands in the way of steady timing here."""


@dataclass(frozen=True)
class Diagnosis:
    """Everything that `deploy-prune doctor` says."""

    version: str
    machine: Machine
    abilities: tuple[Ability, ...]


def diagnose() -> Diagnosis:
    """Look at this machine; runs nothing and imports no vendor package."""
    extras = _read_extras()
    abilities = (_check_ability(kind, name, extras) for kind in _KINDS for name in plugins.list_names(kind))
    return Diagnosis(version=metadata.version(_DISTRIBUTION), machine=describe_machine(), abilities=tuple(abilities))


def check_ability(kind: str, name: str) -> Ability:
    """Whether one plugin can work here."""
    return _check_ability(kind, name, _read_extras())


def describe_machine() -> Machine:
    """Python, processor, memory, and how steady times can be here."""
    allowed = conditions.list_allowed_cores()
    cores = len(allowed)
    now = conditions.read(allowed)
    return Machine(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=conditions.name_processor(),
        cores=cores,
        memory_bytes=conditions.read_memory_bytes(),
        conditions=now,
        advice=advise_on_timing(now, cores),
    )


def advise_on_timing(now: Conditions, cores: int) -> tuple[str, ...]:
    """What to change before times are taken here, most harmful first."""
    advice = []
    if now.load is not None and now.load > 0.5 * cores:
        advice.append(f"load average is {now.load:.1f} on {cores} cores: stop other work before timing")
    if now.governor not in {None, "performance"}:
        advice.append(f"CPU governor is '{now.governor}': 'performance' keeps the frequency steady")
    if cores < 2:
        advice.append("one core: the timing process shares it with everything else")
    if now.frequency_mhz is None and now.governor is None:
        advice.append("this machine does not tell its CPU frequency: only ratios of one session are comparable")
    return tuple(advice)


def _read_extras() -> Mapping[str, tuple[str, ...]]:
    """Extra -> distributions it asks for, from the installed metadata; extras of extras are left out."""
    packages_of: dict[str, list[str]] = {}
    for line in metadata.requires(_DISTRIBUTION) or ():
        match = _REQUIREMENT.match(line)
        if match and match["name"] != _DISTRIBUTION:
            packages_of.setdefault(match["extra"], []).append(match["name"])
    return {extra: tuple(packages) for extra, packages in packages_of.items()}


def _check_ability(kind: str, name: str, extras: Mapping[str, tuple[str, ...]]) -> Ability:
    wanted = (name, *_KINDS[kind]) if name in extras else _KINDS[kind]
    installed: dict[str, str] = {}
    missing: list[str] = []
    lacking: list[str] = []
    for extra in wanted:
        absent = [package for package in extras.get(extra, ()) if _find_version(package) is None]
        present = [package for package in extras.get(extra, ()) if package not in absent]
        # The versions of all of [prune] would drown the one or two that tell a plugin's behaviour.
        telling = [package for package in present if name in {extra, package}]
        installed |= {package: metadata.version(package) for package in telling}
        missing += absent
        lacking += [extra] if absent else []
    install = f"pip install 'deploy-prune[{','.join(lacking)}]'" if lacking else ""
    return Ability(kind, name, not missing, installed, tuple(missing), install)


def _find_version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
