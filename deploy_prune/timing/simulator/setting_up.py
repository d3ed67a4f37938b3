"""Makes the simulator's folder: a small arm64 system with Python and the runtimes, and QEMU's plugin.

python -m deploy_prune.timing.simulator.setting_up
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from deploy_prune.errors import StorageError
from deploy_prune.processes.programs import find_program
from deploy_prune.scratch import hold_new_folder
from deploy_prune.timing.arm64.system import WHEELS, insist, unpack_system
from deploy_prune.timing.simulator.folder import COUNTER, READY, SOURCE, usual_folder
from deploy_prune.timing.simulator.tools import find_emulator


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
    unpack_system(folder)
    (folder / READY).write_text(json.dumps(WHEELS))


def _compile_counter(library: Path) -> None:
    compiler = find_program(("gcc", "cc", "clang"), "apt-get install gcc")
    insist([compiler, "-O2", "-shared", "-fPIC", str(SOURCE), "-o", str(library)], "the counting plugin")


if __name__ == "__main__":
    sys.exit(main())
