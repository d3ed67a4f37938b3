"""Runs on the host: keeps the runner that comes on stdin, whole or not at all, under the digest that it is called with.

The text of this file is what travels to the host, as the argument of its Python: it imports nothing of ours.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
import time
from pathlib import Path

OURS = re.compile(r"runner-[0-9a-f]{64}\.pyz|sending-[a-z0-9_]{8}")
"""The names that are given here, of what is whole and of what is being sent."""
UNUSED_S = 7 * 24 * 3600.0
"""Seconds after which a runner that nobody has started meanwhile is removed: another client may have another one."""
GARBLED, REFUSED = 92, 93
"""The exit codes of bytes that are not those that were sent, and of a file system that refuses them."""


def keep(digest: str, content: bytes) -> int:
    """Write the runner in its place, and remove those of before; the exit code."""
    if hashlib.sha256(content).hexdigest() != digest:
        return GARBLED
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "deploy-prune"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(prefix="sending-", dir=folder)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 - Path opens no descriptors
                file.write(content)
            Path(unfinished).replace(folder / f"runner-{digest}.pyz")
        finally:
            Path(unfinished).unlink(missing_ok=True)
    except OSError as error:
        print(f"deploy-prune: {error.strerror} ({folder})")  # noqa: T201 - what the client reads
        return REFUSED
    remove_unused(folder, time.time() - UNUSED_S)
    return 0


def remove_unused(folder: Path, before: float) -> None:
    """Remove what was kept here and not started since that time; nothing else in the folder is touched."""
    for path in folder.iterdir():
        if OURS.fullmatch(path.name) and path.stat().st_mtime < before:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(keep(sys.argv[1], sys.stdin.buffer.read()))
