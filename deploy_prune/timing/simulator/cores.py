"""The ARM cores that can be simulated: what the emulator calls them, and what a program reads of them."""

from __future__ import annotations

from dataclasses import dataclass

from deploy_prune.errors import ConfigError


@dataclass(frozen=True)
class Core:
    """A core of ARM's, as an emulator and a compiler know it."""

    title: str
    """Its own name, such as `Cortex-A72`."""
    emulated: str
    """The processor that QEMU runs the program on: one with the same instructions."""
    part: str
    """The part number in /proc/cpuinfo, by which runtimes choose their kernels."""
    features: str
    """The features in /proc/cpuinfo; no more than the emulated processor has, or a program dies of SIGILL."""
    ordered: bool
    """Whether it executes in order: LLVM's models of such cores are poor."""


_V8 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
_V82 = f"{_V8} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"

CORES = {
    "cortex-a53": Core("Cortex-A53", "cortex-a53", "0xd03", _V8, ordered=True),
    "cortex-a55": Core("Cortex-A55", "cortex-a76", "0xd05", _V82, ordered=True),
    "cortex-a72": Core("Cortex-A72", "cortex-a72", "0xd08", _V8, ordered=False),
    "cortex-a76": Core("Cortex-A76", "cortex-a76", "0xd0b", _V82, ordered=False),
    "cortex-x1": Core("Cortex-X1", "cortex-a76", "0xd44", _V82, ordered=False),
}
"""Name in an address, and LLVM's name -> core."""


def find_core(name: str) -> Core:
    """The core of that name.

    Raises:
        ConfigError: none.
    """
    if name not in CORES:
        raise ConfigError(f"no core '{name}' can be simulated", hint=f"known: {', '.join(CORES)}")
    return CORES[name]


def write_cpuinfo(core: Core) -> str:
    """What /proc/cpuinfo says on one such core; without it the runtimes read the host's, and crash."""
    fields = {
        "processor": "0",
        "BogoMIPS": "108.00",
        "Features": core.features,
        "CPU implementer": "0x41",
        "CPU architecture": "8",
        "CPU variant": "0x1",
        "CPU part": core.part,
        "CPU revision": "0",
    }
    return "".join(f"{name}\t: {value}\n" for name, value in fields.items()) + "\n"
