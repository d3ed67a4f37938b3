"""What the machine tells about itself around a measurement: load, clock, governor, temperature."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

from deploy_prune.values import Conditions

CPU_SENSORS = ("x86_pkg_temp", "cpu", "soc", "acpitz", "k10temp", "coretemp")
"""Beginnings of the `type` of thermal zones that sit on the processor."""


def read(cores: Sequence[int] | None = None, *, root: Path = Path("/")) -> Conditions:
    """The conditions now, on these cores (None: all that are allowed); None for what this machine does not tell.

    `root` is where /sys and /proc are.
    """
    cores = list_allowed_cores() if cores is None else cores
    return Conditions(
        load=_read_load(),
        frequency_mhz=_read_frequency_mhz(root, cores),
        governor=_read_governor(root, cores),
        temperature_c=_read_temperature_c(root),
        affinity=tuple(cores),
    )


def list_allowed_cores() -> tuple[int, ...]:
    """The cores this process may use, in order (all of them where the system has no affinity, as on macOS)."""
    if platform.system() == "Linux":
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def name_processor() -> str:
    """The processor's own name where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def fingerprint() -> str:
    """What figures taken here call this machine (processor, architecture, system): others' are not its own."""
    return f"{name_before_systems()}, {platform.system()}"


def name_before_systems() -> str:
    """What latency tables of schema 1 call this machine: processor and architecture, without the system."""
    return f"{name_processor()}, {platform.machine()}"


def read_memory_bytes() -> int | None:
    """The memory of this machine, in bytes; None: it does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _read_load() -> float | None:
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):  # AttributeError: Windows
        return None


def _read_frequency_mhz(root: Path, cores: Sequence[int]) -> float | None:
    paths = [root / f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq" for core in cores]
    readings = [float(text) / 1000 for text in map(_read_text, paths) if text]
    return max(readings) if readings else _read_frequency_from_cpuinfo(root, cores)


def _read_frequency_from_cpuinfo(root: Path, cores: Sequence[int]) -> float | None:
    """Virtual machines have no cpufreq, but x86 ones name a clock in /proc/cpuinfo, in the order of the cores."""
    lines = (_read_text(root / "proc/cpuinfo") or "").splitlines()
    clocks = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    readings = [clocks[core] for core in cores if core < len(clocks)]
    return max(readings) if readings else None


def _read_governor(root: Path, cores: Sequence[int]) -> str | None:
    paths = [root / f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor" for core in cores]
    governors = sorted({text for text in map(_read_text, paths) if text})
    return ",".join(governors) or None


def _read_temperature_c(root: Path) -> float | None:
    """The hottest processor sensor, in degrees Celsius; zones report thousandths of a degree."""
    zones = sorted((root / "sys/class/thermal").glob("thermal_zone*"))
    on_cpu = [zone for zone in zones if (_read_text(zone / "type") or "").lower().startswith(CPU_SENSORS)]
    readings = [float(text) / 1000 for text in (_read_text(zone / "temp") for zone in on_cpu) if text]
    return max(readings) if readings else None


def _read_text(path: Path) -> str | None:
    """The file's text; None where it is missing or refuses to be read (sensors answer EINVAL when asleep)."""
    try:
        return path.read_text().strip()
    except OSError:
        return None
