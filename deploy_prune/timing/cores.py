"""Which cores a machine has: their classes, fastest first, what they can compute, and the board that they sit on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ARM_PARTS: Mapping[int, str] = {
    0xC07: "Cortex-A7", 0xC09: "Cortex-A9", 0xC0F: "Cortex-A15",
    0xD03: "Cortex-A53", 0xD04: "Cortex-A35", 0xD05: "Cortex-A55", 0xD07: "Cortex-A57", 0xD08: "Cortex-A72",
    0xD09: "Cortex-A73", 0xD0A: "Cortex-A75", 0xD0B: "Cortex-A76", 0xD0C: "Neoverse-N1", 0xD0D: "Cortex-A77",
    0xD40: "Neoverse-V1", 0xD41: "Cortex-A78", 0xD44: "Cortex-X1", 0xD46: "Cortex-A510", 0xD47: "Cortex-A710",
    0xD48: "Cortex-X2", 0xD49: "Neoverse-N2", 0xD4D: "Cortex-A715", 0xD4E: "Cortex-X3", 0xD4F: "Neoverse-V2",
    0xD80: "Cortex-A520", 0xD81: "Cortex-A720", 0xD82: "Cortex-X4",
}  # fmt: skip
"""The number of a part (`CPU part` in /proc/cpuinfo) -> its name, for those that Arm itself designed."""
ARM = 0x41
"""The number of Arm among those who design processors (`CPU implementer`)."""
IN_ORDER = frozenset({0xC07, 0xD03, 0xD04, 0xD05, 0xD46, 0xD80})
"""The parts that are the little cores where a machine has both sorts, whatever their clocks."""
FEATURES: Mapping[str, str] = {
    "atomics": "atomics", "asimddp": "asimddp", "asimdhp": "fp16", "i8mm": "i8mm", "bf16": "bf16", "sve": "sve",
    "avx2": "avx2", "avx512f": "avx512f", "avx512_vnni": "avx512_vnni",
}  # fmt: skip
"""What the kernel calls a feature of a core -> what it is listed as, for those that kernels of runtimes look for."""


@dataclass(frozen=True)
class CoreClass:
    """Cores of a machine that are alike."""

    name: str
    """The name of the core, such as `Cortex-A72`; the architecture's, where the machine does not tell."""
    cores: tuple[int, ...]
    """The numbers of those cores that may be used, ascending."""
    max_mhz: float | None
    """The highest clock frequency, in MHz; None: the machine does not tell."""


@dataclass(frozen=True)
class _Core:
    """What a machine tells about one core."""

    number: int
    part: tuple[int, int]
    """The designer's number and the core's own; zeros where they are not told."""
    max_khz: int
    """The highest clock frequency, in kHz; 0 where it is not told."""
    capacity: int
    """The kernel's own figure of how much it computes, 1024 of the fastest; 0 where it is not told."""

    @property
    def speed(self) -> tuple[int, int, bool]:
        """What tells fast cores from slow ones: the clock, else the capacity, else the part."""
        return self.max_khz, self.capacity, self.part[1] not in IN_ORDER


def list_core_classes(allowed: Sequence[int], unnamed: str, root: Path = Path("/")) -> tuple[CoreClass, ...]:
    """The classes of those cores, fastest first; `unnamed` is what a core without a name is called.

    `root` is where /sys and /proc are.
    """
    parts = _read_parts(root)
    cores = [_read_core(number, parts.get(number, (0, 0)), root) for number in sorted(allowed)]
    kinds = sorted({(core.speed, core.part) for core in cores}, reverse=True)
    return tuple(
        CoreClass(
            _name_part(part, unnamed),
            tuple(core.number for core in cores if (core.speed, core.part) == (speed, part)),
            speed[0] / 1000 or None,
        )
        for speed, part in kinds
    )


def list_features(root: Path = Path("/")) -> tuple[str, ...]:
    """Those features that every core has, of the ones that matter here, such as `atomics`, `asimddp` and `fp16`."""
    told = [set(value.split()) for key, value in _read_cpuinfo(root) if key in {"Features", "flags"}]
    shared = set.intersection(*told) if told else set()
    return tuple(name for word, name in FEATURES.items() if word in shared)


def name_by_cores(root: Path = Path("/"), allowed: Sequence[int] = ()) -> str | None:
    """The board and its cores, such as `Raspberry Pi 4 Model B Rev 1.4 (4x Cortex-A72)`; None: it tells neither."""
    classes = [each for each in list_core_classes(allowed, "", root) if each.name]
    cores = ", ".join(f"{len(each.cores)}x {each.name}" for each in classes)
    board = read_board(root)
    return f"{board} ({cores})" if board and cores else board or cores or None


def read_board(root: Path = Path("/")) -> str | None:
    """The board's own name, as device trees have it; None: it does not tell."""
    text = read_line(root / "proc/device-tree/model")
    return text.rstrip("\0").strip() if text else None


def read_line(path: Path) -> str | None:
    """The file's text; None where it is missing or refuses to be read (sensors answer EINVAL when asleep)."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def _read_core(number: int, part: tuple[int, int], root: Path) -> _Core:
    folder = root / f"sys/devices/system/cpu/cpu{number}"
    clock, capacity = read_line(folder / "cpufreq/cpuinfo_max_freq"), read_line(folder / "cpu_capacity")
    return _Core(number, part, _read_whole(clock), _read_whole(capacity))


def _read_whole(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0


def _read_parts(root: Path) -> dict[int, tuple[int, int]]:
    """Core -> its designer's number and its own, from /proc/cpuinfo."""
    parts: dict[int, tuple[int, int]] = {}
    number = implementer = 0
    for key, value in _read_cpuinfo(root):
        if key == "processor" and value.isdigit():
            number = int(value)
        elif key == "CPU implementer":
            implementer = int(value, 16)
        elif key == "CPU part":
            parts[number] = implementer, int(value, 16)
    return parts


def _read_cpuinfo(root: Path) -> Iterator[tuple[str, str]]:
    for line in (read_line(root / "proc/cpuinfo") or "").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            yield key.strip(), value.strip()


def _name_part(part: tuple[int, int], unnamed: str) -> str:
    implementer, number = part
    if implementer == ARM and number in ARM_PARTS:
        return ARM_PARTS[number]
    return f"part {number:#x} of implementer {implementer:#x}" if implementer else unnamed
