"""One device of adb: what it tells about itself with nothing of ours on it, and with what we have pushed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from deploy_prune.errors import Unavailable
from deploy_prune.timing import conditions
from deploy_prune.timing.adb.connection import FIND_PYTHON, Connection
from deploy_prune.timing.adb.snapshot import SCRIPT, Snapshot, read_snapshot
from deploy_prune.timing.adb.thermal import LOW_PERCENT, read_battery, read_status, read_temperature_c, write_status
from deploy_prune.timing.cores import CoreClass, list_core_classes, list_features, name_by_cores, read_line
from deploy_prune.timing.devices import DeviceDescription
from deploy_prune.timing.remote.host import Host
from deploy_prune.values import Conditions

ABI = "arm64-v8a"
"""What Android calls the architecture that the runtimes are pushed for."""
MACHINES = {ABI: "aarch64", "armeabi-v7a": "armv7l", "x86_64": "x86_64", "x86": "i686"}
RANGE = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?")
MEMORY = re.compile(r"^MemTotal:\s+(\d+) kB", re.MULTILINE)
ANDROID = "Android"


class Phone:
    """A device that adb leads to. Not a value: it remembers what was found out."""

    def __init__(self, serial: str, patience_s: float) -> None:
        self.host = Host(Connection(serial), patience_s)
        self._first: Snapshot | None = None
        self._about: DeviceDescription | None = None

    def look(self) -> DeviceDescription:
        """What it tells without anything of ours; asked once.

        Raises:
            Unavailable: it cannot be reached.
        """
        if self._first is None:
            self._first = self.take_snapshot()
        return describe_snapshot(self._first)

    def describe(self) -> DeviceDescription:
        """What it is made of, with the runtimes that were pushed; without them, where none were.

        Raises:
            Unavailable: it cannot be reached, or what was pushed does not run.
        """
        if self._about is None:
            has_python = self.host.ask_script(FIND_PYTHON + "exit 0").returncode == 0
            self._about = self._ask_runner(self.look()) if has_python else self.look()
        return self._about

    def _ask_runner(self, about: DeviceDescription) -> DeviceDescription:
        there = self.host.describe()
        return replace(
            about, cores=there.cores, classes=_keep_cores(about, there), runtimes=there.runtimes, python=there.python,
            libc=f"{there.libc} (pushed)",
        )  # fmt: skip

    def read_conditions(self, cores: Sequence[int]) -> Conditions:
        """How it is now, on these cores."""
        return read_snapshot_conditions(self.take_snapshot(), cores)

    def advise(self) -> tuple[str, ...]:
        """What disturbs timing on it now."""
        now = self.take_snapshot()
        status, battery = read_status(now.said.get("thermal", "")), read_battery(now.said.get("battery", ""))
        advice = []
        if status:
            advice.append(f"it is hot ({write_status(status)}): let it cool down, its times are not its usual ones")
        if battery.level_percent is not None and battery.level_percent < LOW_PERCENT:
            advice.append(f"its battery is at {battery.level_percent} %, where devices save power: charge it")
        return tuple(advice)

    def take_snapshot(self) -> Snapshot:
        """Ask it what it tells about itself now. Raises Unavailable."""
        return read_snapshot(self.host.ask_script(SCRIPT).stdout.decode(errors="replace"))

    def forget(self) -> None:
        """Ask anew from now on: something was pushed."""
        self._first = self._about = None
        self.host.forget()


def check_architecture(phone: Phone) -> None:
    """Refuse a device that the runtimes are not pushed for.

    Raises:
        Unavailable: it is none of 64-bit ARM.
    """
    about = phone.look()
    if about.architecture != MACHINES[ABI]:
        message = f"{phone.host.address} is {about.architecture} ({about.processor}), and what runs files is for {ABI}"
        raise Unavailable(message, hint="phones since 2016 and emulators with an arm64 image are")


def describe_snapshot(snapshot: Snapshot) -> DeviceDescription:
    """What a device is made of, by what it tells about itself."""
    told = snapshot.properties
    with snapshot.unpack() as root:
        allowed = _read_cores(read_line(root / "sys/devices/system/cpu/online") or "0")
        architecture = MACHINES.get(told.get("ro.product.cpu.abi", ABI), "unknown")
        classes = list_core_classes(allowed, architecture, root)
        cores, features = name_by_cores(root, allowed), list_features(root)
        memory = MEMORY.search(read_line(root / "proc/meminfo") or "")
    return DeviceDescription(
        processor=_name_processor(told, cores or architecture),
        architecture=architecture,
        system=ANDROID,
        cores=len(allowed),
        memory_bytes=int(memory[1]) * 1024 if memory else None,
        runtimes={},
        classes=classes,
        features=features,
        release=" ".join(filter(None, (ANDROID, told.get("ro.build.version.release")))),
    )


def read_snapshot_conditions(snapshot: Snapshot, cores: Sequence[int]) -> Conditions:
    """How a device is, on these cores, by what it tells about itself."""
    with snapshot.unpack() as root:
        told = conditions.read_files(root, cores)
    thermal = snapshot.said.get("thermal", "")
    status, temperature_c = read_status(thermal), read_temperature_c(thermal)
    return replace(
        told,
        temperature_c=told.temperature_c if temperature_c is None else temperature_c,
        throttled=None if status is None else write_status(status),
    )


def _name_processor(told: dict[str, str], cores: str) -> str:
    """`Google Pixel 6, Google Tensor (2x Cortex-X1, ...)`: model, chip as far as they are told, and cores."""
    model = " ".join(filter(None, (told.get("ro.product.manufacturer"), told.get("ro.product.model"))))
    chip = " ".join(filter(None, (told.get("ro.soc.manufacturer"), told.get("ro.soc.model"))))
    named = chip or told.get("ro.board.platform") or told.get("ro.hardware") or ""
    return ", ".join(filter(None, (model, f"{named} ({cores})" if named else cores)))


def _read_cores(text: str) -> tuple[int, ...]:
    """`0-3,6`: the numbers."""
    ranges = (match for match in map(RANGE.fullmatch, text.split(",")) if match)
    return tuple(core for each in ranges for core in range(int(each[1]), int(each[2] or each[1]) + 1)) or (0,)


def _keep_cores(about: DeviceDescription, there: DeviceDescription) -> tuple[CoreClass, ...]:
    """The classes, by the kernel's own names and clocks, of those cores that the shell may use."""
    allowed = {core for each in there.classes for core in each.cores}
    kept = (replace(each, cores=tuple(core for core in each.cores if core in allowed)) for each in about.classes)
    return tuple(each for each in kept if each.cores)
