"""The folder that the simulator lives in, and the system that a simulated program sees."""

from __future__ import annotations

import json
from pathlib import Path

from deploy_prune.errors import Unavailable
from deploy_prune.timing.arm64.system import SYSTEM, WHEELS
from deploy_prune.timing.simulator.cores import Core, write_cpuinfo

SOURCE = Path(__file__).with_name("counter.c")
"""The source of QEMU's plugin."""
COUNTER = "counter.so"
"""The compiled plugin within the folder, beside the arm64 system."""
READY = "ready.json"
"""What is written last: the wheels' names and versions."""
PACKAGE = Path(__file__).parents[2]
"""This very package, which runs in the simulator as well."""
SETUP = "set it up, which takes a minute and 300 MB: deploy-prune doctor --device sim://cortex-a72 --setup"


def usual_folder() -> Path:
    """In the platform's cache folder; its name changes with what it holds."""
    from platformdirs import user_cache_path

    versions = "-".join(WHEELS.values())
    return user_cache_path("deploy-prune", appauthor=False) / f"simulator-{versions}"


def check_folder(folder: Path) -> None:
    """Refuse a folder that is not whole.

    Raises:
        Unavailable: it is not set up, or for other versions of the runtimes.
    """
    try:
        held = json.loads((folder / READY).read_text())
    except (OSError, ValueError) as error:
        raise Unavailable(f"the simulator is not set up ({folder})", hint=SETUP) from error
    if held != WHEELS:
        raise Unavailable(f"{folder} holds other runtimes than deploy-prune simulates", hint=f"remove it, and {SETUP}")


def make_view(view: Path, folder: Path, core: Core) -> None:
    """Make the root folder that a program on a core sees: the system, and what tells it which core it runs on."""
    for each in (folder / SYSTEM).iterdir():
        (view / each.name).symlink_to(each)
    (view / "proc").mkdir()
    (view / "proc" / "cpuinfo").write_text(write_cpuinfo(core))
    cpus = view / "sys" / "devices" / "system" / "cpu"
    cpus.mkdir(parents=True)
    for name in ("possible", "present"):
        (cpus / name).write_text("0\n")
    ours = view / "deploy-prune"
    ours.mkdir()
    (ours / PACKAGE.name).symlink_to(PACKAGE)
