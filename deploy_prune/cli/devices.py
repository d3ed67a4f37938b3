"""`deploy-prune devices`: what devices are made of and which can be reached; `doctor --device` looks at one of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy_prune.cli.options import Json
from deploy_prune.cli.output import say, show_json, show_table
from deploy_prune.errors import ConfigError, Unavailable
from deploy_prune.timing.devices import device_at, list_attached

if TYPE_CHECKING:
    from deploy_prune.analysis.devices import Examination
    from deploy_prune.timing.cores import CoreClass
    from deploy_prune.values import Conditions

Addresses = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ADDRESS...]",
        help="Devices, such as ssh://pi@board; none: this machine and what adb lists.",
        show_default=False,
    ),
]


def devices(addresses: Addresses = None, as_json: Json = False) -> int:
    """Say what devices are made of, and which of them can be reached.

    A row per device: processor or board, classes of cores, memory, system, runtimes, and what its cores can do. The
    exit code is that of a device that is not there (3) where one cannot be reached.
    """
    from deploy_prune.analysis.devices import examine_all

    examined = examine_all(addresses or list_attached())
    if as_json:
        show_json(devices=examined)
    else:
        columns = ("device", "processor", "cores", "GiB", "system", "runtimes", "features")
        show_table("Devices", columns, [_make_row(each) for each in examined])
    return Unavailable.exit_code if any(each.reason for each in examined) else 0


def examine_device(file: Path | None, address: str | None, *, setup: bool, as_json: bool) -> int:
    """Show one device and what it lacks, once it has been set up where that is wished."""
    if address is None:
        raise ConfigError("--setup needs a device", hint="name it: --device ssh://pi@board --setup")
    if file is not None:
        hint = f"`deploy-prune bench {file} --device {address}` runs it there"
        raise ConfigError(f"{file} is looked into on this machine alone", hint=hint)
    from deploy_prune.analysis.devices import examine

    installed = device_at(address).set_up() if setup else ()
    examined = examine(address)
    if as_json:
        show_json(device=examined, installed=installed)
        return 0
    if installed:
        say(f"installed on {address}: {', '.join(installed)}", err=True)
    show_table(address, ("", "is"), _list_facts(examined))
    return 0


def _make_row(examined: Examination) -> tuple[str, ...]:
    about = examined.description
    if about is None:
        return (examined.address, f"not reached: {examined.reason}", "-", "-", "-", "-", "-")
    return (
        examined.address,
        f"{about.processor}, {about.architecture}",
        _write_classes(about.classes) or str(about.cores),
        _write_gib(about.memory_bytes),
        about.release or about.system,
        ", ".join(f"{name} {version}" for name, version in about.runtimes.items()) or "none",
        " ".join(about.features) or "-",
    )


def _list_facts(examined: Examination) -> list[tuple[str, str]]:
    about, now = examined.description, examined.conditions
    assert about is not None and now is not None
    return [
        ("processor", f"{about.processor}, {about.architecture}"),
        ("cores, fastest first", _write_classes(about.classes) or str(about.cores)),
        ("features", " ".join(about.features) or "none of those that runtimes look for"),
        ("memory", f"{_write_gib(about.memory_bytes)} GiB"),
        ("system", ", ".join(filter(None, (about.release or about.system, about.libc)))),
        ("python", about.python or "not told"),
        *(("runtime", f"{name} {version}") for name, version in about.runtimes.items()),
        ("now", _write_conditions(now)),
        *(("to do", each) for each in examined.advice),
    ]


def _write_classes(classes: Sequence[CoreClass]) -> str:
    """`4x Cortex-A76 2400 MHz, 4x Cortex-A55 1800 MHz`."""
    clocks = ("" if each.max_mhz is None else f" {each.max_mhz:.0f} MHz" for each in classes)
    return ", ".join(f"{len(each.cores)}x {each.name}{clock}" for each, clock in zip(classes, clocks, strict=True))


def _write_gib(memory_bytes: int | None) -> str:
    return "not told" if memory_bytes is None else f"{memory_bytes / 2**30:.1f}"


def _write_conditions(now: Conditions) -> str:
    told = {
        "load": now.load and f"{now.load:.2f}",
        "clock": now.frequency_mhz and f"{now.frequency_mhz:.0f} MHz",
        "governor": now.governor,
        "temperature": now.temperature_c and f"{now.temperature_c:.0f} °C",
        "throttled": now.throttled,
    }
    return ", ".join(f"{name} {value}" for name, value in told.items() if value) or "it tells nothing"
