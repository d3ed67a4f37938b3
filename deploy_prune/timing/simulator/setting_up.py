"""Makes the simulator's folder: a small arm64 system with Python and the runtimes, and QEMU's plugin.

    python -m deploy_prune.timing.simulator.setting_up

Debian's packages come through an apt state of their own, the wheels through pip: nothing of this machine is changed,
and nobody has to be root.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from deploy_prune.errors import StorageError, Unavailable
from deploy_prune.scratch import hold_new_folder
from deploy_prune.timing.simulator.folder import COUNTER, READY, SITE, SOURCE, SYSTEM, WHEELS, usual_folder
from deploy_prune.timing.simulator.tools import find_emulator, find_program, run_tool

PACKAGES = ("python3", "libstdc++6", "libgomp1")
PLATFORMS = ("manylinux_2_27_aarch64", "manylinux_2_28_aarch64", "manylinux2014_aarch64")
SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
"""Where Debian keeps what its mirrors are."""
DOWNLOAD_S = 1200.0

logger = logging.getLogger(__name__)


def main() -> int:
    """Set the simulator up in its usual folder."""
    folder = usual_folder()
    set_up(folder)
    print(folder)  # noqa: T201  (a program of its own)
    return 0


def set_up(folder: Path) -> None:
    """Make the simulator's folder, or leave it as it is where it is whole.

    Raises:
        Unavailable: a program is missing, or a package cannot be had.
        StorageError: the folder cannot be written.
    """
    find_emulator()
    if (folder / READY).exists():
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with hold_new_folder(folder.parent, "simulator-new-") as fresh:
            _fill(fresh)
            if folder.exists():
                shutil.rmtree(folder)
            fresh.rename(folder)
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror}", hint="free some 500 MB there") from error


def _fill(folder: Path) -> None:
    _compile_counter(folder / COUNTER)
    _unpack_debian(folder / "apt", folder / SYSTEM)
    _unpack_wheels(folder / "wheels", folder / SITE, _read_python_version(folder / SYSTEM))
    for downloads in ("apt", "wheels"):
        shutil.rmtree(folder / downloads)
    (folder / READY).write_text(json.dumps(WHEELS))


def _compile_counter(library: Path) -> None:
    compiler = find_program(("gcc", "cc", "clang"), "apt-get install gcc")
    _insist([compiler, "-O2", "-shared", "-fPIC", str(SOURCE), "-o", str(library)], "the counting plugin")


def _unpack_debian(state: Path, system: Path) -> None:
    """Unpack packages for arm64 and all that they depend on; this machine's own state of apt stays as it is."""
    sources = next((path for path in SOURCES if path.exists()), None)
    if sources is None:
        hint = f"set it up on Debian, and copy {usual_folder()} from there"
        raise Unavailable("this machine does not know Debian's mirrors (debian.sources)", hint=hint)
    for place in ("lists/partial", "cache/archives/partial", "parts"):
        (state / place).mkdir(parents=True)
    (state / "status").touch()
    shutil.copy(sources, state / "parts" / sources.name)
    apt = [find_program(("apt-get",), "set it up on Debian"), *_list_apt_options(state), "-qq"]
    _insist([*apt, "update"], "the lists of Debian's packages")
    _insist([*apt, "install", "-y", "--download-only", *PACKAGES], "Debian's packages for arm64")
    system.mkdir()
    for package in sorted((state / "cache" / "archives").glob("*.deb")):
        _insist(["dpkg-deb", "-x", str(package), str(system)], package.name)


def _list_apt_options(state: Path) -> tuple[str, ...]:
    options = (
        "APT::Architecture=arm64",
        "APT::Architectures=arm64",
        "APT::Install-Recommends=false",
        f"APT::Sandbox::User={'root' if os.geteuid() == 0 else ''}",
        f"Dir::State={state}",
        f"Dir::State::status={state / 'status'}",
        f"Dir::State::lists={state / 'lists'}",
        f"Dir::Cache={state / 'cache'}",
        "Dir::Etc::sourcelist=/dev/null",
        f"Dir::Etc::sourceparts={state / 'parts'}",
        "Debug::NoLocking=true",
    )
    return tuple(part for option in options for part in ("-o", option))


def _read_python_version(system: Path) -> str:
    """The version of the system's Python, such as `3.11`, by what `python3` leads to."""
    return (system / "usr" / "bin" / "python3").readlink().name.removeprefix("python")


def _unpack_wheels(downloads: Path, site: Path, python: str) -> None:
    platforms = [part for platform in PLATFORMS for part in ("--platform", platform)]
    abi = f"cp{python.replace('.', '')}"
    wanted = [f"{name}=={version}" for name, version in WHEELS.items()]
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(downloads), *platforms]
    chosen = ["--python-version", python, "--implementation", "cp", "--abi", abi, "--only-binary=:all:", *wanted]
    _insist([*pip, *chosen], "the runtimes' wheels for aarch64")
    for wheel in sorted(downloads.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)


def _insist(arguments: Sequence[str], what: str) -> subprocess.CompletedProcess[str]:
    logger.info("%s", what)
    said = run_tool(arguments, timeout_s=DOWNLOAD_S)
    if said.returncode:
        last = (said.stderr.strip().splitlines() or ["it said nothing"])[-1]
        message = f"the simulator cannot be set up, for want of {what}: {last[:300]}"
        raise Unavailable(message, hint=f"try it by hand: {' '.join(arguments)}")
    return said


if __name__ == "__main__":
    sys.exit(main())
