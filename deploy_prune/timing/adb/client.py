"""The adb client of this machine, and the devices that are attached to it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from deploy_prune.errors import ConfigError, MissingDependency
from deploy_prune.processes.programs import run_tool
from deploy_prune.timing.adb.refusals import explain_refusal

SERIAL = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9._:%\]-]*")
"""What names a device: `R5CT20ABCDE`, `emulator-5554`, `192.168.1.7:5555`, `adb-X-Y._adb-tls-connect._tcp`."""
NETWORKED = re.compile(r"(.+):[0-9]{1,5}")
"""The serials of devices that adb reaches over the network."""
ATTACHED = re.compile(
    r"^(\S+)\s+(device|offline|unauthorized|authorizing|recovery|sideload|bootloader|no permissions)\b"
)
READY = "device"
"""The state of a device that takes commands."""
CONNECT_S = 30.0
"""Seconds after which adb itself, which may have its server to start, is given up."""


@dataclass(frozen=True)
class Attached:
    """A device that adb knows."""

    serial: str
    """What adb calls it."""
    state: str
    """Its state, such as `device`, `unauthorized` and `offline`."""


def find_adb() -> str:
    """The user's own client, else that of the SDK, else the one that the extra brings.

    Raises:
        MissingDependency: there is none.
    """
    for candidate in _list_candidates():
        if os.access(candidate, os.X_OK):
            return str(candidate)
    raise MissingDependency("adbutils", "adb")


def list_attached() -> tuple[Attached, ...]:
    """The devices that adb knows, in whatever state.

    Raises:
        MissingDependency: there is no adb; Unavailable: it fails.
    """
    done = run_tool((find_adb(), "devices"), timeout_s=CONNECT_S)
    if done.returncode:
        raise explain_refusal("adb", done.stderr)
    matches = map(ATTACHED.match, done.stdout.splitlines())
    return tuple(Attached(match[1], match[2]) for match in matches if match and SERIAL.fullmatch(match[1]))


def connect(serial: str) -> None:
    """Have adb connect to a device of the network, as after its restart; whether it could, the next command finds out.

    Raises:
        MissingDependency: there is no adb; Unavailable: it does not answer.
    """
    if NETWORKED.fullmatch(serial):
        run_tool((find_adb(), "connect", serial), timeout_s=CONNECT_S)


def check_serial(text: str) -> str:
    """The serial, where it is one: nothing that adb or a shell could take for anything else is let through.

    Raises:
        ConfigError: it is none.
    """
    if SERIAL.fullmatch(text) is None:
        hint = "`adb devices` lists the serials; adb:// alone is the only device that is attached"
        raise ConfigError(f"'adb://{text}' names no device of adb", hint=hint)
    return text


def choose_serial() -> str:
    """The device that ANDROID_SERIAL names, else the only one that is attached.

    Raises:
        Unavailable: none is attached, or none that is ready; ConfigError: several are.
    """
    if named := os.environ.get("ANDROID_SERIAL"):
        return check_serial(named)
    attached = list_attached()
    ready = [each.serial for each in attached if each.state == READY]
    if len(ready) > 1:
        choices = ", ".join(f"adb://{serial}" for serial in ready)
        raise ConfigError("several devices are attached to adb", hint=f"name one: {choices}, or set ANDROID_SERIAL")
    if ready:
        return ready[0]
    if attached:
        raise explain_refusal(f"adb://{attached[0].serial}", f"error: device {attached[0].state}")
    raise explain_refusal("adb", "error: no devices/emulators found")


def _list_candidates() -> Iterator[Path]:
    if installed := shutil.which("adb"):
        yield Path(installed)
    for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        if home := os.environ.get(name):
            yield Path(home) / "platform-tools" / "adb"
    spec = find_spec("adbutils")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(place) / "binaries" / "adb"
