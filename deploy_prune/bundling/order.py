"""What a bundle is made of, and which orders cannot be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy_prune.bundling.apps import APPS
from deploy_prune.bundling.manifest import MANIFEST
from deploy_prune.errors import ConfigError, StorageError

NOT_STATED = "not stated"


@dataclass(frozen=True)
class BundleOrder:
    """What a bundle is made of."""

    runs: tuple[Path, ...]
    """Finished runs, a variant each; the first is the fallback. They are called after their folders."""
    name: str = "model"
    """The bundle's name, which is that of the AI pack."""
    apps: tuple[str, ...] = tuple(APPS)
    groups: tuple[tuple[str, Path], ...] = ()
    """System-on-chip -> the run among `runs` that its devices are sent."""
    formats: tuple[str, ...] | None = None
    """None: those that each kind of app usually takes."""
    licence: str = NOT_STATED
    """The licence of the weights."""
    signing_key: Path | None = None
    """A PEM file; None: the bundle is not signed."""


def check_order(order: BundleOrder, out: Path) -> None:
    """Refuse an order that cannot be, before anything is read.

    Raises:
        ConfigError: no run, a name that cannot be, or a group of a run that is not in it.
        StorageError: the folder is there already, and no bundle.
    """
    if not order.runs:
        raise ConfigError("a bundle of no run", hint="name one run folder or several")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", order.name):
        hint = "letters, digits and _, a letter first: it names an Android module"
        raise ConfigError(f"'{order.name}' is no name of a bundle", hint=hint)
    if strangers := [run for _, run in order.groups if run not in order.runs]:
        raise ConfigError(
            f"a group is sent {strangers[0]}, which is not in the bundle", hint="name it as a run as well"
        )
    if out.exists() and not (out.is_dir() and ((out / MANIFEST).is_file() or not any(out.iterdir()))):
        raise StorageError(f"{out} is there already, and no bundle", hint="choose another --out")


def list_formats(order: BundleOrder) -> tuple[str, ...]:
    """The formats that go into a bundle.

    Raises:
        ConfigError: an app that there is not, or a format that none of the apps can run.
    """
    if unknown := [app for app in order.apps if app not in APPS]:
        raise ConfigError(f"there is no app '{unknown[0]}'", hint=f"choose among: {', '.join(APPS)}")
    if order.formats is None:
        return tuple(dict.fromkeys(each for app in order.apps for each in APPS[app].formats))
    runnable = {each for app in order.apps for each in APPS[app].runnable}
    if unknown := [each for each in order.formats if each not in runnable]:
        hint = f"choose among: {', '.join(sorted(runnable))}"
        raise ConfigError(f"no {' or '.join(order.apps)} app runs '{unknown[0]}' files", hint=hint)
    return order.formats


def name_variants(runs: Sequence[Path]) -> list[str]:
    """The variants' names: those of their folders, in letters that every system takes.

    Raises:
        ConfigError: two are called the same.
    """
    names = [re.sub(r"[^A-Za-z0-9_.-]+", "-", run.resolve().name).strip("-.") or "variant" for run in runs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"two runs are called '{twice}'", hint="rename one of the folders")
    return names
