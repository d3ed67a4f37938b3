"""Programs of this machine that we call: where they are, and a run of one to its end."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from deploy_prune.errors import Unavailable

TIMEOUT_S = 120.0


def find_program(names: Sequence[str], hint: str) -> str:
    """Where the first of some programs is.

    Raises:
        Unavailable: none of them is installed.
    """
    for name in names:
        if (place := shutil.which(name)) is not None:
            return place
    raise Unavailable(f"the program {names[0]} is needed, and not installed", hint=hint)


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
