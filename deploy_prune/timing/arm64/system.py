"""Unpacks a small arm64 system with Python and the runtimes into a folder, on any Debian.

Debian's packages come through an apt state of their own, the wheels through pip: nothing of this machine is changed,
and nobody has to be root.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy_prune.errors import Unavailable
from deploy_prune.processes.programs import find_program, run_tool

SYSTEM, SITE = "system", "site"
"""The folders of Debian's packages and of the wheels, within the one that is filled."""
WHEELS: Mapping[str, str] = {"ai-edge-litert": "2.3.0", "onnxruntime": "1.31.1", "numpy": "2.4.6"}
"""The wheels, and their versions."""
RUNTIMES: Mapping[str, str] = {"litert": "ai-edge-litert", "onnxruntime": "onnxruntime"}
"""The runtimes that `--setup` brings to any device -> the packages that have them."""
PACKAGES = ("python3", "libstdc++6", "libgomp1")
PLATFORMS = ("manylinux_2_27_aarch64", "manylinux_2_28_aarch64", "manylinux2014_aarch64")
SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
"""Where Debian keeps what its mirrors are."""
DOWNLOAD_S = 1200.0

logger = logging.getLogger(__name__)


def unpack_system(folder: Path) -> None:
    """Fill `SYSTEM` and `SITE` of a folder.

    Raises:
        Unavailable: a program is missing, or a package cannot be had.
        OSError: the folder cannot be written.
    """
    unpack_debian(PACKAGES, folder / "apt", folder / SYSTEM)
    _unpack_wheels(folder / "wheels", folder / SITE, read_python_version(folder / SYSTEM))
    for downloads in ("apt", "wheels"):
        shutil.rmtree(folder / downloads)


def read_python_version(system: Path) -> str:
    """The version of the system's Python, such as `3.11`, by what `python3` leads to."""
    return (system / "usr" / "bin" / "python3").readlink().name.removeprefix("python")


def insist(arguments: Sequence[str], what: str) -> subprocess.CompletedProcess[str]:
    """Run a program; `what` is what is wanted of it.

    Raises:
        Unavailable: it failed.
    """
    logger.info("%s", what)
    said = run_tool(arguments, timeout_s=DOWNLOAD_S)
    if said.returncode:
        last = (said.stderr.strip().splitlines() or ["it said nothing"])[-1]
        message = f"it cannot be set up, for want of {what}: {last[:300]}"
        raise Unavailable(message, hint=f"try it by hand: {' '.join(arguments)}")
    return said


def unpack_debian(packages: Sequence[str], state: Path, system: Path) -> None:
    """Unpack packages for arm64 and all that they depend on; this machine's own state of apt stays as it is.

    Args:
        packages: their names.
        state: a new folder for apt, which may be removed then.
        system: a new folder, the root of what is unpacked.

    Raises:
        Unavailable: a program is missing, or a package cannot be had.
    """
    sources = next((path for path in SOURCES if path.exists()), None)
    if sources is None:
        hint = "set it up on Debian, and copy what it makes in the cache folder from there"
        raise Unavailable("this machine does not know Debian's mirrors (debian.sources)", hint=hint)
    for place in ("lists/partial", "cache/archives/partial", "parts"):
        (state / place).mkdir(parents=True)
    (state / "status").touch()
    shutil.copy(sources, state / "parts" / sources.name)
    apt = [find_program(("apt-get",), "set it up on Debian"), *_list_apt_options(state), "-qq"]
    insist([*apt, "update"], "the lists of Debian's packages")
    insist([*apt, "install", "-y", "--download-only", *packages], "Debian's packages for arm64")
    system.mkdir()
    for package in sorted((state / "cache" / "archives").glob("*.deb")):
        insist(["dpkg-deb", "-x", str(package), str(system)], package.name)


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


def _unpack_wheels(downloads: Path, site: Path, python: str) -> None:
    platforms = [part for platform in PLATFORMS for part in ("--platform", platform)]
    abi = f"cp{python.replace('.', '')}"
    wanted = [f"{name}=={version}" for name, version in WHEELS.items()]
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(downloads), *platforms]
    chosen = ["--python-version", python, "--implementation", "cp", "--abi", abi, "--only-binary=:all:", *wanted]
    insist([*pip, *chosen], "the runtimes' wheels for aarch64")
    for wheel in sorted(downloads.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
