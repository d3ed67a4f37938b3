"""Ends what others have started for us (Ray's own agents), and what would outlive us when we are killed.

A process of its own notes every second who descends from us. Once nobody holds the other end of its stdin any more,
which is so when we are gone, however that came about, it kills those that are left. Linux alone tells who descends from
whom; marks in the environment do not do, as agents write their titles over it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POLL_S = 1.0
PARENT, BEGAN = 1, 19
"""Where a process's parent and its time of start stand in /proc/PID/stat, behind the name."""
DONE = b"done"

Process = tuple[int, str]
"""The number of a process, and when it began: numbers are used again."""


@contextmanager
def reaping() -> Iterator[None]:
    """If we are killed in the block, have our descendants killed, wherever they have moved to."""
    if sys.platform != "linux":
        yield
        return
    argv = [sys.executable, "-m", __name__, str(os.getpid())]
    reaper = subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        reaper.communicate(DONE)


def list_descendants(ancestor: int) -> set[Process]:
    """List the processes that descend from one."""
    parents: dict[int, int] = {}
    began: dict[int, str] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it is gone
            fields = file.read_text().rpartition(") ")[2].split()
            pid = int(file.parent.name)
            parents[pid], began[pid] = int(fields[PARENT]), fields[BEGAN]
    reached = {ancestor}
    while more := {pid for pid, parent in parents.items() if parent in reached} - reached:
        reached |= more
    return {(pid, began[pid]) for pid in reached - {ancestor}}


def _is_alive(process: Process) -> bool:
    try:
        text = Path(f"/proc/{process[0]}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(") ")[2].split()[BEGAN] == process[1]


def main() -> None:
    """Note who descends from a process until stdin ends, and kill them then, unless it was told that all is done."""
    known: set[Process] = set()
    stdin = sys.stdin.buffer
    while not select.select([stdin], [], [], POLL_S)[0]:
        known |= list_descendants(int(sys.argv[1]))
    if stdin.read() == DONE:
        return
    for process in known:
        if process[0] != os.getpid() and _is_alive(process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process[0], signal.SIGKILL)


if __name__ == "__main__":
    main()
