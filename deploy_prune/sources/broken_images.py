"""Remembers which images of a folder or tar cannot be decoded, so that a second start knows without reading them."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from pathlib import Path

from deploy_prune.errors import StorageError
from deploy_prune.records import write_atomic
from deploy_prune.sources.images import Blob

logger = logging.getLogger(__name__)

Stamp = list[int]
"""Offset and length of an image in its file, and the file's bytes and time of change in ns: another stamp, another
image."""
FOLDER = "broken-images"
NAMED = 5
"""The number of broken images that are named at a start; the first run named every one."""


class BrokenImages:
    """The images of one root that could not be decoded, kept in one small file. Not a value: it learns.

    Whole images are not in it: they are decoded whenever they are read, and there is nothing to save.
    """

    def __init__(self, root: Path, folder: Path | None = None) -> None:
        """Read what earlier processes found broken below `root`; `folder` None: in the user's cache folder."""
        name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:24]
        self.file = (folder or _find_cache()) / f"{name}.json"
        self._stamps = self._read()

    def knows(self, blob: Blob) -> bool:
        """Whether an image was found broken, and is the same file still."""
        return blob.name in self._stamps and self._stamps[blob.name] == _make_stamp(blob)

    def remember(self, blobs: Iterable[Blob]) -> None:
        """Keep that images cannot be decoded, for this process and for later ones; a cache that refuses is no error."""
        self._stamps |= {blob.name: _make_stamp(blob) for blob in blobs}
        merged = self._read() | self._stamps  # another process may have found others
        try:
            write_atomic(self.file, lambda temporary: temporary.write_text(json.dumps(merged)))
        except (StorageError, OSError) as error:
            logger.debug("broken images are not remembered: %s", error)

    def tell_known(self, blobs: Iterable[Blob]) -> None:
        """Log how many of these images are known to be broken, and the first few names."""
        names = [blob.name for blob in blobs if self.knows(blob)]
        if names:
            shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
            logger.warning("%d images are known to be broken, others of their classes stand in: %s", len(names), shown)

    def _read(self) -> dict[str, Stamp]:
        try:
            stamps = json.loads(self.file.read_text())
        except (OSError, ValueError):
            return {}
        return stamps if isinstance(stamps, dict) else {}


def _make_stamp(blob: Blob) -> Stamp:
    try:
        status = blob.path.stat()
    except OSError:
        return []
    return [blob.offset, blob.length, status.st_size, status.st_mtime_ns]


def _find_cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("deploy-prune", appauthor=False) / FOLDER
