"""The programs that the simulator works with: QEMU's emulator, a C compiler for its plugin, and LLVM's analyser."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from deploy_prune.errors import Unavailable

EMULATOR = "qemu-aarch64"
"""The emulator that takes plugins; the static one does not."""
SUPPORTED = ("7", "8")
"""The versions of QEMU whose plugins count as ours does."""
LLVM = ("", *(f"-{number}" for number in range(21, 13, -1)))
"""What the names of LLVM's programs may end with."""
TIMEOUT_S = 120.0
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


def find_program(names: Sequence[str], hint: str) -> str:
    """Where the first of some programs is.

    Raises:
        Unavailable: none of them is installed.
    """
    for name in names:
        if (place := shutil.which(name)) is not None:
            return place
    raise Unavailable(f"the simulator needs the program {names[0]}, which is not installed", hint=hint)


def run_tool(
    arguments: Sequence[str], *, given: str = "", timeout_s: float = TIMEOUT_S
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with some text on its stdin; whether it failed is for the caller to see.

    Raises:
        Unavailable: it does not run, or not to its end in time.
    """
    try:
        return subprocess.run(arguments, input=given, capture_output=True, text=True, timeout=timeout_s, check=False)
    except OSError as error:
        raise Unavailable(f"{arguments[0]} does not run: {error.strerror}", hint="install it again") from error
    except subprocess.TimeoutExpired as error:
        message = f"{arguments[0]} did not end within {timeout_s:.0f} s"
        raise Unavailable(message, hint="is the machine overloaded, or the network down? Try again") from error


def _read_version(program: str) -> str:
    said = run_tool([program, "--version"])
    match = _VERSION.search(said.stdout)
    if match is None:
        message = f"{program} does not tell its version: {(said.stdout or said.stderr).strip()[:80]}"
        raise Unavailable(message, hint="install it again")
    return match[1]
