"""What the machine tells about itself around a measurement: load, clock, governor, temperature."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deploy_prune.timing.cores import name_by_cores, read_line
from deploy_prune.values import Conditions

CPU_SENSORS = ("x86_pkg_temp", "cpu", "soc", "acpitz", "k10temp", "coretemp")
"""Beginnings of the `type` of thermal zones that sit on the processor."""
HOTTEST_C = 250.0
"""The degrees Celsius that no working processor reaches."""


def read(cores: Sequence[int] | None = None, *, root: Path = Path("/")) -> Conditions:
    """The conditions now, on these cores (None: all that are allowed); None for what this machine does not tell.

    `root` is where /sys and /proc are.
    """
    cores = list_allowed_cores() if cores is None else cores
    return replace(read_files(root, cores), load=_read_load(), throttled=_read_throttled())


def read_files(root: Path, cores: Sequence[int]) -> Conditions:
    """What the files of /sys and /proc below `root` tell, this machine's or another's, on these cores."""
    return Conditions(
        load=_read_load_file(root),
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
    """The processor's own name where Linux tells it, else the board and its cores, as ARM machines tell them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    name = next(names, None) or name_by_cores(allowed=list_allowed_cores())
    return name or platform.processor() or platform.machine()


def name_release() -> str:
    """The system by the name that its users know, such as `Debian GNU/Linux 12 (bookworm)`."""
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return f"{platform.system()} {platform.release()}"


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


def _read_load_file(root: Path) -> float | None:
    words = (read_line(root / "proc/loadavg") or "").split()
    return _parse(words[0]) if words else None


def _read_frequency_mhz(root: Path, cores: Sequence[int]) -> float | None:
    paths = [root / f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq" for core in cores]
    readings = [khz / 1000 for khz in map(_parse, map(read_line, paths)) if khz is not None]
    return max(readings) if readings else _read_frequency_from_cpuinfo(root, cores)


def _read_frequency_from_cpuinfo(root: Path, cores: Sequence[int]) -> float | None:
    """Virtual machines have no cpufreq, but x86 ones name a clock in /proc/cpuinfo, in the order of the cores."""
    lines = (read_line(root / "proc/cpuinfo") or "").splitlines()
    clocks = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    readings = [clocks[core] for core in cores if core < len(clocks)]
    return max(readings) if readings else None


def _read_governor(root: Path, cores: Sequence[int]) -> str | None:
    paths = [root / f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor" for core in cores]
    governors = sorted({text for text in map(read_line, paths) if text})
    return ",".join(governors) or None


def _read_temperature_c(root: Path) -> float | None:
    """The hottest processor sensor, in degrees Celsius."""
    zones = sorted((root / "sys/class/thermal").glob("thermal_zone*"))
    on_cpu = [zone for zone in zones if (read_line(zone / "type") or "").lower().startswith(CPU_SENSORS)]
    readings = [degrees for zone in on_cpu if (degrees := _parse(read_line(zone / "temp"))) is not None]
    return max(map(_scale_to_degrees, readings)) if readings else None


def _scale_to_degrees(reading: float) -> float:
    """Zones report thousandths of a degree; those of some boards whole degrees."""
    return reading / 1000 if abs(reading) >= HOTTEST_C else reading


def _parse(text: str | None) -> float | None:
    """The number that a file holds; None: it holds none."""
    try:
        return float(text or "")
    except ValueError:
        return None


def _read_throttled() -> str | None:
    """What a Raspberry Pi's firmware says of low voltage and throttling, such as `0x50005`; None: it is none."""
    program = shutil.which("vcgencmd")
    if program is None:
        return None
    try:
        done = subprocess.run([program, "get_throttled"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip().removeprefix("throttled=") or None
