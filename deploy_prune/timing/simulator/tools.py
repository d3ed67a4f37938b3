"""The programs that the simulator works with: QEMU's emulator, a C compiler for its plugin, and LLVM's analyser."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from deploy_prune.errors import Unavailable
from deploy_prune.processes.programs import find_program, run_tool

EMULATOR = "qemu-aarch64"
"""The emulator that takes plugins; the static one does not."""
SUPPORTED = ("7", "8")
"""The versions of QEMU whose plugins count as ours does."""
LLVM = ("", *(f"-{number}" for number in range(21, 13, -1)))
"""What the names of LLVM's programs may end with."""
_VERSION = re.compile(r"version (\d+\.\d+\.\d+)")


@dataclass(frozen=True)
class Emulator:
    """QEMU in user mode."""

    program: str
    """Where it is."""
    version: str
    """Its version, such as `7.2.22`."""


@dataclass(frozen=True)
class Analyser:
    """LLVM's models of cores."""

    disassembler: str
    """Where `llvm-mc` is."""
    program: str
    """Where `llvm-mca` is."""
    version: str
    """The version of LLVM, such as `14.0.6`."""


@cache
def find_emulator() -> Emulator:
    """The emulator of this machine.

    Raises:
        Unavailable: none, or one whose plugins are of another kind.
    """
    program = find_program((EMULATOR,), "apt-get install qemu-user (its static twin takes no plugins)")
    version = _read_version(program)
    if version.partition(".")[0] not in SUPPORTED:
        message = f"{program} is QEMU {version}, whose plugins are of another kind"
        raise Unavailable(message, hint=f"take QEMU {' or '.join(SUPPORTED)}, such as Debian 12 has")
    return Emulator(program, version)


@cache
def find_analyser() -> Analyser:
    """LLVM's analyser and disassembler of this machine, of one version.

    Raises:
        Unavailable: one of them is not installed.
    """
    hint = "apt-get install llvm"
    program = find_program([f"llvm-mca{end}" for end in LLVM], hint)
    ending = Path(program).name.removeprefix("llvm-mca")
    disassembler = find_program([f"llvm-mc{ending}"], hint)
    return Analyser(disassembler, program, _read_version(program))


def _read_version(program: str) -> str:
    said = run_tool([program, "--version"])
    match = _VERSION.search(said.stdout)
    if match is None:
        message = f"{program} does not tell its version: {(said.stdout or said.stderr).strip()[:80]}"
        raise Unavailable(message, hint="install it again")
    return match[1]
