"""The workshop itself; see the package."""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from deploy_prune.causes import find_missing_library, is_out_of_memory
from deploy_prune.processes.lifeline import follow
from deploy_prune.processes.workshop.parcels import GIVEN_UP, NO_MEMORY, dump, load

POLL_S = 0.02
GARBAGE = 100_000
"""Objects between two looks for garbage: converters make millions that live to the end."""
METHOD = "fork" if sys.platform == "linux" else "spawn"
"""How a workshop starts a process. Other systems' own libraries do not bear being copied."""


@dataclass(frozen=True)
class Item:
    """The process of an item."""

    process: BaseProcess
    limit_s: float
    """The seconds after which it is given up."""
    began_s: float
    """When it was started, by the clock of `time.monotonic`."""

    def find_code(self) -> int | None:
        """Its exit code; None while it runs. One that takes too long is killed here."""
        if self.process.exitcode is None and time.monotonic() - self.began_s > self.limit_s:
            self.process.kill()
            self.process.join()
            return GIVEN_UP
        return self.process.exitcode


def main(arguments: Sequence[str]) -> int:
    """Be the workshop: begin what is asked for and say how it ended, until stdin closes; then end what still runs."""
    folder, parent, modules = arguments[0], int(arguments[1]), arguments[2:]
    follow(parent)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what vendors print goes to the log
    for module in modules:
        with suppress(ImportError, OSError):  # whoever needs it says so
            importlib.import_module(module)
    gc.freeze()
    gc.set_threshold(GARBAGE, 50, 50)
    asked = _listen_to_stdin()
    running: dict[int, Item] = {}
    while True:
        with suppress(queue.Empty):
            line = asked.get(timeout=POLL_S if running else None)
            if not line:
                break
            part, number, limit_s = line.split()
            process = _start_process(str(Path(folder, part)), int(number))
            running[int(number)] = Item(process, float(limit_s), time.monotonic())
        for ended, code in _list_ended(running):
            del running[ended]
            answers.write(f"{ended} {code}\n")
            answers.flush()
    for item in running.values():
        item.process.kill()
        item.process.join()
    return 0


def _list_ended(running: Mapping[int, Item]) -> list[tuple[int, int]]:
    """The numbers and exit codes of the items that have ended."""
    codes = [(number, item.find_code()) for number, item in running.items()]
    return [(number, code) for number, code in codes if code is not None]


def _listen_to_stdin() -> queue.SimpleQueue[str]:
    """Lines as they come; an empty one says that whoever asked is gone. In a thread: no other way waits everywhere."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        """Read without `sys.stdin`: its lock, held while it waits, would be held for ever in a copy of this process."""
        kept = b""
        while chunk := os.read(0, 1 << 10):
            *whole, kept = (kept + chunk).split(b"\n")
            for line in whole:
                lines.put(line.decode())
        lines.put("")

    sys.stdin = None
    threading.Thread(target=listen, daemon=True).start()
    return lines


def _start_process(folder: str, number: int) -> BaseProcess:
    context: Any = multiprocessing.get_context(METHOD)
    process: BaseProcess = context.Process(target=work_on, args=(folder, number))
    process.start()
    return process


def work_on(folder_name: str, number: int) -> None:
    """Be the process of one item: do the work and leave its result in the folder."""
    _follow_host()
    folder = Path(folder_name)
    log = os.open(folder / f"{number}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    code = 0
    try:
        work, shared = load(folder / "shared")
        dump(folder / f"{number}.result", work(shared, load(folder / f"{number}.item")))
    except Exception as error:  # noqa: BLE001 - it is raised in the process that asked for the work
        if is_out_of_memory(error):
            traceback.print_exception(error)
            sys.stderr.flush()
            os._exit(NO_MEMORY)
        # what an error was raised from does not travel with it
        dump(folder / f"{number}.raised", find_missing_library(error) or error)
        code = 1
    os._exit(code)  # all results are written: what vendors do at exit, some crash in, is not waited for


def _follow_host() -> None:
    """End with the workshop, by the pipe to it and, where there is one, by the kernel's own means."""
    host = multiprocessing.parent_process()
    assert host
    assert host.pid

    def wait() -> None:
        host.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
    follow(host.pid)
