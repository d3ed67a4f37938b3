"""What Android says of its own heat and battery, as `dumpsys` prints it."""

from __future__ import annotations

import re
from dataclasses import dataclass

STATUSES = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
"""Android's thermal statuses, by their numbers."""
STATUS = re.compile(r"^\s*Thermal Status:\s*(\d+)", re.MULTILINE)
CURRENT = "Current temperatures from HAL:"
"""Before it stands what was cached, which may be of hours ago."""
TEMPERATURE = re.compile(r"Temperature\{mValue=(?P<value>-?[\d.]+), mType=(?P<type>-?\d+), mName=(?P<name>[^,]*)")
SECTION = re.compile(r"^\S.*:\s*$", re.MULTILINE)
CPU, SKIN = 0, 3
"""The types of temperatures of the processor and of the surface."""
LOW_PERCENT = 20
"""Below that, devices save power."""


@dataclass(frozen=True)
class Battery:
    """A device's battery."""

    level_percent: int | None
    """How full it is; None: it does not tell."""
    temperature_c: float | None
    """Its temperature, in degrees Celsius; None: it does not tell."""


def read_status(text: str) -> int | None:
    """The thermal status, 0 to 6; None: it is not told."""
    match = STATUS.search(text)
    return int(match[1]) if match else None


def write_status(status: int) -> str:
    """`thermal status 2 (moderate)`."""
    name = STATUSES[status] if status < len(STATUSES) else "unknown"
    return f"thermal status {status} ({name})"


def read_temperature_c(text: str) -> float | None:
    """The hottest sensor of the processor now, else of the surface, in degrees Celsius; None: neither is told."""
    _, begins, current = text.partition(CURRENT)
    if not begins:
        return None
    following = SECTION.search(current)
    readings = TEMPERATURE.finditer(current[: following.start()] if following else current)
    values = [(int(each["type"]), float(each["value"])) for each in readings]
    for wanted in (CPU, SKIN):
        if of_type := [value for kind, value in values if kind == wanted]:
            return max(of_type)
    return None


def read_battery(text: str) -> Battery:
    """The battery's level and temperature, which is told in tenths of a degree."""
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    level, tenths = fields.get("level", ""), fields.get("temperature", "")
    return Battery(int(level) if level.isdigit() else None, int(tenths) / 10 if tenths.lstrip("-").isdigit() else None)
