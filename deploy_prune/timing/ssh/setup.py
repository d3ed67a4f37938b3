"""`--setup`: a private environment of Python on a host with our versions of the runtimes; nothing else is installed."""

from __future__ import annotations

import re
from importlib import metadata

from deploy_prune.errors import Unavailable
from deploy_prune.timing.devices import DeviceDescription
from deploy_prune.timing.remote.host import Host
from deploy_prune.timing.ssh.connection import FIND_PYTHON

OLDEST_GLIBC = {"ai-edge-litert": (2, 34), "onnxruntime": (2, 28)}
"""Package -> the oldest glibc that its wheels load with: ai-edge-litert's are tagged for an older one, install there,
and cannot be imported."""
MACHINES = frozenset({"aarch64", "arm64", "x86_64"})
"""The architectures that both packages have wheels for."""
MAKE = (
    FIND_PYTHON + 'if [ ! -x "$d/venv/bin/python" ]; then mkdir -p "$d" && "$p" -m venv "$d/venv" || exit 94; fi; '
    'exec "$d/venv/bin/python" -m pip install --disable-pip-version-check --no-input --quiet "$@"'
)
"""Makes the environment where there is none, and has its pip install these packages."""
NO_VENV = 94
INSTALL_S = 1800.0


def set_up(host: Host) -> tuple[str, ...]:
    """Make a host's private environment; what was installed there, as pip writes it.

    Raises:
        Unavailable: the host is none that the runtimes run on, or its pip cannot install them.
    """
    packages = choose_packages(host.address, host.describe())
    done = host.run_script(MAKE, ("setup", *packages), b"", INSTALL_S)
    host.forget()
    if done.returncode == 0:
        return packages
    said = (done.stderr + done.stdout).decode(errors="replace").strip()
    if done.returncode == NO_VENV:
        hint = "Debian, Ubuntu and Raspberry Pi OS: apt install python3-venv there; then the same again"
        raise Unavailable(f"the Python of {host.address} makes no environments: {_read_reason(said)}", hint=hint)
    hint = (
        f"what is half done stays in ~/.cache/deploy-prune/venv there, and the same command goes on; {_read_hint(said)}"
    )
    raise Unavailable(f"pip on {host.address} cannot install {', '.join(packages)}: {_read_reason(said)}", hint=hint)


def choose_packages(address: str, about: DeviceDescription) -> tuple[str, ...]:
    """What pip is to install there, in the versions that are installed here.

    Raises:
        Unavailable: none of the runtimes runs there.
    """
    if about.architecture not in MACHINES:
        hint = "64-bit systems of ARM and x86 have them; many boards that run a 32-bit system can run a 64-bit one"
        raise Unavailable(
            f"{address} is a {about.architecture}, for which there are no packages of the runtimes", hint=hint
        )
    fit = [name for name, oldest in OLDEST_GLIBC.items() if _read_glibc(about) >= oldest]
    if not fit:
        hint = "Debian 12, Raspberry Pi OS Bookworm, Ubuntu 22.04 or newer have glibc 2.34 or newer"
        raise Unavailable(
            f"{address} has {about.libc or 'no glibc'}, and the runtimes need glibc 2.28 or newer", hint=hint
        )
    return tuple(map(_pin, ("numpy", *fit)))


def list_left_out(about: DeviceDescription) -> tuple[str, ...]:
    """The runtimes' packages that `set_up` does not install there, and why."""
    return tuple(
        f"{name}: its wheels need glibc {major}.{minor}, there is {about.libc or 'none'}"
        for name, (major, minor) in OLDEST_GLIBC.items()
        if _read_glibc(about) < (major, minor)
    )


def _pin(package: str) -> str:
    try:
        return f"{package}=={metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return package


def _read_glibc(about: DeviceDescription) -> tuple[int, int]:
    version = re.fullmatch(r"glibc (\d+)\.(\d+)(?:\.\d+)?", about.libc)
    return (int(version[1]), int(version[2])) if version else (0, 0)


def _read_reason(said: str) -> str:
    """The line of pip's or venv's that says why."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or ["it said nothing"])[-1].removeprefix("ERROR: ")


def _read_hint(said: str) -> str:
    if re.search("no space left", said, re.IGNORECASE):
        return "its disk is full: 400 MB are needed"
    return "can the host reach a package index (PyPI)?"
