"""Processes that work for another one: they end when that one is gone, whatever they are doing then."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

POLL_S = 1.0
PR_SET_PDEATHSIG = 1
"""The number of Linux' call that has a process killed with its parent (prctl(2))."""


def follow(parent: int) -> None:
    """End with the parent from now on, and leave Ctrl-C to it: a terminal sends that to both.

    Args:
        parent: the number of the process that started this one, as that one says: it may be gone by now.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not _end_by_kernel():
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it went before the kernel was asked
        os._exit(1)


def _end_by_kernel() -> bool:
    """Have the kernel kill this process with its parent, also within a vendor's call; whether it will."""
    if sys.platform != "linux":
        return False
    refused: int = ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return not refused


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_S)
    os._exit(1)
