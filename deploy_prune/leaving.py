"""How a command leaves that is interrupted while it is still being imported, when nothing of ours could catch that."""

from __future__ import annotations

import os
import signal
from pathlib import PurePath

COMMAND = "deploy-prune"
INTERRUPTED = 130
"""The exit code of `errors.INTERRUPTED`, which is not imported yet."""


def is_our_command(program: str) -> bool:
    """Whether this process was started as our console script, by what is `sys.argv[0]` there."""
    return PurePath(program).name.removesuffix(".exe").removesuffix("-script.py") == COMMAND


def leave_when_interrupted() -> None:
    """Have Ctrl-C end this process at once, with one line; until something else is done about it."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _leave)


def _leave(_: int, __: object) -> None:
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)
