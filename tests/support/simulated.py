"""What tests of the simulator need of this machine, and the reason why they are skipped where it is not there."""

from __future__ import annotations

import shutil

import pytest

from deploy_prune.errors import Unavailable
from deploy_prune.timing.simulator.folder import check_folder, usual_folder
from deploy_prune.timing.simulator.tools import find_analyser, find_emulator

FOLDER = usual_folder()
"""Where the simulator of this machine is; tests have a cache folder of their own."""


def link_simulator() -> None:
    """Have the cache folder of the tests lead to the simulator of this machine, where there is one."""
    if FOLDER.exists():
        usual_folder().parent.mkdir(parents=True, exist_ok=True)
        usual_folder().symlink_to(FOLDER)


def say_what_is_missing() -> str:
    """Why the simulator cannot run here; empty where it can."""
    try:
        find_emulator()
        find_analyser()
        check_folder(FOLDER)
    except Unavailable as error:
        return str(error)
    return ""


needs_qemu = pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="apt-get install qemu-user")
needs_llvm = pytest.mark.skipif(shutil.which("llvm-mca") is None, reason="apt-get install llvm")
needs_simulator = pytest.mark.skipif(bool(say_what_is_missing()), reason=say_what_is_missing() or "it is there")
