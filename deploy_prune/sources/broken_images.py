"""Remembers which images of a folder or tar are not used, and why: a second start knows without reading them."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import PIL

from deploy_prune.errors import StorageError
from deploy_prune.records import write_atomic
from deploy_prune.sources.images import Blob

logger = logging.getLogger(__name__)

Stamp = tuple[int, ...]
"""Offset and length of an image in its file, and the file's bytes and time of change in ns: another stamp, another
image."""
FOLDER = "broken-images"
NAMED = 5
"""The number of broken images that are named at a start; the first run named every one."""


class BrokenImages:
    """The images of one root that could not be read, kept in one small file. Not a value: it learns.

    Whole images are not in it: they are decoded whenever they are read, and there is nothing to save.
    """

    def __init__(self, root: Path, folder: Path | None = None, *, read_as: object = "") -> None:
        """Read what earlier processes found broken below `root`.

        Args:
            root: the folder or tar of the images.
            folder: where the file is; None: in the user's cache folder.
            read_as: how images are read; what is too large to be scaled to one size is not so for another.
        """
        described = f"{root.resolve()}\0{read_as}\0{PIL.__version__}"  # a later Pillow may decode what one could not
        self.file = (folder or _find_cache()) / f"{hashlib.sha256(described.encode()).hexdigest()[:24]}.json"
        self._stamp = self._find_stamp()
        self._known = self._read()

    def find_reason(self, blob: Blob) -> str | None:
        """Say why an image is not used, where that is known; None: it is not, or the image was changed since."""
        stamp, why = self._known.get(blob.name, (None, ""))
        return why if stamp is not None and stamp == _make_stamp(blob) else None

    def learn_from_others(self) -> int:
        """Read what other processes have found broken since, and say when it was written, in ns; 0: never."""
        stamp = self._find_stamp()
        if stamp != self._stamp:
            self._stamp, self._known = stamp, self._read() | self._known
        return stamp

    def remember(self, reasons: Mapping[Blob, str]) -> None:
        """Keep why images are not used, for this process and for later ones; a cache that refuses is no error."""
        self._known |= {blob.name: (_make_stamp(blob), why) for blob, why in reasons.items()}
        merged = self._read() | self._known  # another process may have found others
        try:
            write_atomic(self.file, lambda temporary: temporary.write_text(json.dumps(merged)))
        except (StorageError, OSError) as error:
            logger.debug("broken images are not remembered: %s", error)

    def tell_known(self, blobs: Iterable[Blob]) -> None:
        """Log how many of these images are known to be broken, and the first few names."""
        names = [blob.name for blob in blobs if self.find_reason(blob) is not None]
        if names:
            shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
            logger.warning("%d images are known to be broken, others stand in for them: %s", len(names), shown)

    def _find_stamp(self) -> int:
        """When the file was written, in ns; 0: never."""
        return self.file.stat().st_mtime_ns if self.file.is_file() else 0

    def _read(self) -> dict[str, tuple[Stamp, str]]:
        try:
            known = json.loads(self.file.read_text())
            return {str(name): (tuple(map(int, stamp)), str(why)) for name, (stamp, why) in known.items()}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):  # lost, or damaged: as good as none
            return {}


def _make_stamp(blob: Blob) -> Stamp:
    try:
        status = blob.path.stat()
    except OSError:
        return ()
    return blob.offset, blob.length, status.st_size, status.st_mtime_ns


def _find_cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("deploy-prune", appauthor=False) / FOLDER
