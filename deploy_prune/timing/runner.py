"""The timing worker as one file that a Python elsewhere runs, with numpy and a runtime and nothing else of ours."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
PARTS = ("formats", "processes", "timing", "values")
"""The packages that a worker may import, beside the modules of the package itself."""
LEFT_OUT = frozenset({"__main__.py"})
"""Modules of the package itself that lead to the command line."""
MAIN = """\
import sys

if sys.argv[1] == "describe":
    from deploy_prune.timing.describing import main
else:
    from deploy_prune.timing.worker import main
sys.exit(main(sys.argv[2:]))
"""
"""What the file does: `worker ...` and `describe ...` are what these modules do when they are run."""
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The date of everything in it: the same sources are the same bytes."""
PLAIN_FILE = 0o644 << 16


@dataclass(frozen=True)
class Runner:
    """A zip archive that Python runs."""

    content: bytes
    """The archive."""
    sha256: str
    """Its digest."""


@cache
def build_runner() -> Runner:
    """Pack the worker and all that it may import; the same sources give the same bytes, on whatever machine."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in _list_files():
            entry = zipfile.ZipInfo(name, LONG_AGO)
            entry.create_system, entry.external_attr = 3, PLAIN_FILE  # as on POSIX, also where this is Windows
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)
    return Runner(buffer.getvalue(), hashlib.sha256(buffer.getvalue()).hexdigest())


def _list_files() -> Iterator[tuple[str, bytes]]:
    yield "__main__.py", MAIN.encode()
    own = (path for path in PACKAGE.glob("*.py") if path.name not in LEFT_OUT)
    for path in sorted((*own, *(each for part in PARTS for each in (PACKAGE / part).rglob("*.py")))):
        yield f"{PACKAGE.name}/{path.relative_to(PACKAGE).as_posix()}", path.read_bytes()
