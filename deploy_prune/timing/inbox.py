"""What arrives at a worker: requests, line by line, and the files that travel within them."""

from __future__ import annotations

import json
import os
import queue
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from deploy_prune.scratch import hold_new_folder, sweep_folders
from deploy_prune.timing.wire import unpack_file

OWN_FOLDER = "deploy-prune"
"""The folder in the user's cache folder that holds all we ever keep on a host."""
WORK = "work-"
"""What the names of workers' own folders in it begin with."""
SUFFIX = re.compile(r"\.[a-z0-9]{1,16}")
CHUNK_BYTES = 1 << 16


def find_own_folder() -> Path:
    """The one folder of this host that is ours, in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / OWN_FOLDER


class Inbox:
    """Reads stdin in a thread; when it closes, the process ends, whatever it is doing then.

    It holds what has not been asked for yet, and the folder of the files that have arrived: two at the most, the
    latest and the one that may still be open.
    """

    def __init__(self) -> None:
        self._requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._unread = b""
        self._held = ExitStack()
        self._folder: Path | None = None
        self._files: list[Path] = []
        self._lost = ""
        self._arrived = 0

    def listen(self) -> Iterator[dict[str, Any]]:
        """Requests as they come; `file` is where what was attached has been written, or `lost` why it could not be."""
        threading.Thread(target=self._listen, daemon=True).start()
        while True:
            yield self._requests.get()

    def clear(self) -> None:
        """Remove the folder of what has arrived."""
        self._held.close()

    def _listen(self) -> None:
        with suppress(EOFError):
            while True:
                request: dict[str, Any] = json.loads(self._read_line())
                self._requests.put(self._take_file(request) if "open" in request else request)
        self.clear()
        os._exit(0)  # whoever would read an answer is gone

    def _take_file(self, request: dict[str, Any]) -> dict[str, Any]:
        """The request with the place of its file: one that is attached, or the latest that was."""
        if request.pop("attached", False):
            self._lost = self._write_attached(Path(request["open"]).suffix)
        elif not request.pop("again", False):
            return request
        return {**request, **({"lost": self._lost} if self._lost else {"file": str(self._files[-1])})}

    def _write_attached(self, suffix: str) -> str:
        """Write what is attached to a new file; why that failed, which leaves nothing unread, or nothing."""
        pieces, lost = unpack_file(self._read_exactly), ""
        self._arrived += 1
        try:
            folder = self._make_folder()
            for old in self._files[:-1]:
                old.unlink()
            path = folder / f"{self._arrived}{suffix if SUFFIX.fullmatch(suffix) else ''}"
            self._files = [*self._files[-1:], path]
            with path.open("wb") as file:
                for piece in pieces:
                    file.write(piece)
        except OSError as error:
            lost = f"{error.strerror or error} ({find_own_folder()})"
        for _ in pieces:
            pass
        return lost

    def _make_folder(self) -> Path:
        if self._folder is None:
            parent = find_own_folder()
            parent.mkdir(parents=True, exist_ok=True)
            sweep_folders(parent, WORK)
            self._folder = self._held.enter_context(hold_new_folder(parent, WORK))
        return self._folder

    def _read_line(self) -> bytes:
        parts = []
        while b"\n" not in self._unread:
            parts.append(self._unread)
            self._unread = self._read_more()
        line, _, self._unread = self._unread.partition(b"\n")
        return b"".join((*parts, line))

    def _read_exactly(self, count: int) -> bytes:
        parts, missing = [self._unread[:count]], count - len(self._unread)
        self._unread = self._unread[count:]
        while missing > 0:
            more = self._read_more()
            parts.append(more[:missing])
            self._unread = more[missing:]
            missing -= len(more)
        return b"".join(parts)

    def _read_more(self) -> bytes:
        """Read without `sys.stdin`, whose lock no thread may hold when the process ends."""
        more = os.read(0, CHUNK_BYTES)
        if not more:
            raise EOFError
        return more
