"""What a device of adb tells about itself, in one round trip, with no program of ours on it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from deploy_prune.scratch import make_scratch

FILES = (
    "/proc/cpuinfo", "/proc/meminfo", "/proc/loadavg", "/sys/devices/system/cpu/online",
    "/sys/devices/system/cpu/cpu*/cpu_capacity",
    *(f"/sys/devices/system/cpu/cpu*/cpufreq/{name}" for name in
      ("cpuinfo_max_freq", "scaling_cur_freq", "scaling_governor")),
    "/sys/class/thermal/thermal_zone*/type", "/sys/class/thermal/thermal_zone*/temp",
)  # fmt: skip
COMMANDS = {"properties": "getprop", "thermal": "dumpsys thermalservice", "battery": "dumpsys battery"}
"""What is asked beside the files -> how; a device that lacks one answers nothing."""
BOUNDARY = "=== deploy-prune: "
SCRIPT = f'grep -sH "" {" ".join(FILES)}; ' + "; ".join(
    f'echo "{BOUNDARY}{name}"; {command} 2>/dev/null' for name, command in COMMANDS.items()
)
"""Prints every line of the files behind the file's path, then what the commands say."""
LINE = re.compile(r"(?P<path>(?:/[A-Za-z0-9_]+)+):(?P<text>.*)")
PROPERTY = re.compile(r"^\[([\w.]+)\]: \[(.*)\]$", re.MULTILINE)


@dataclass(frozen=True)
class Snapshot:
    """What it told."""

    files: Mapping[str, str]
    """The path of a file, absolute there -> its text."""
    said: Mapping[str, str]
    """What was asked (see `COMMANDS`) -> the answer."""

    @property
    def properties(self) -> dict[str, str]:
        """Android's own properties, such as `ro.product.model`."""
        return dict(PROPERTY.findall(self.said.get("properties", "")))

    @contextmanager
    def unpack(self) -> Iterator[Path]:
        """A folder with these files in their places, as those read them who read this machine's."""
        with make_scratch() as root:
            for name, text in self.files.items():
                path = root / name.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            yield root


def read_snapshot(text: str) -> Snapshot:
    """Read what `SCRIPT` has printed; lines that are not of its own kind are passed over."""
    head, *parts = text.replace("\r\n", "\n").split(BOUNDARY)
    lines: dict[str, list[str]] = {}
    for match in filter(None, map(LINE.fullmatch, head.splitlines())):
        if any(PurePosixPath(match["path"]).match(pattern) for pattern in FILES):
            lines.setdefault(match["path"], []).append(match["text"])
    said = {name: answer for name, _, answer in (part.partition("\n") for part in parts)}
    return Snapshot({path: "\n".join(each) for path, each in lines.items()}, said)
