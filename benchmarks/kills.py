"""Kills at random moments: the same command again must end as if nothing had happened, and leave nothing behind.

    python -m benchmarks.kills [--kills N] [--first N] [--minutes M] [--table]

Five kinds of tiny runs (`killed_runs.RUNS`) are killed in four ways, at a moment and with a victim that are drawn by
the number of the kill: the whole process group by SIGKILL, one of its workers by SIGKILL, the command by SIGTERM, the
group by SIGINT (as a terminal does). The command is then given again until it is done. Gates, of every kill: the
results are those of a run that nobody killed, byte for byte but for times; no process is left, neither after the kill
nor in the end; no temporary file is left in the end; SIGTERM and SIGINT end without a traceback, with the usual codes.
Every kill is a file under `results/kills/`, which a second call goes on after; two calls may share the work
(`--first`). An hour on two idle cores.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.killed_runs import RUNS, command, digest_results, lay_out, make_weights
from benchmarks.recording import write
from benchmarks.subjects import cell, stored

TABLE = "kills"
KILLS = 60
HOWS = ("group SIGKILL", "worker SIGKILL", "SIGTERM", "SIGINT")
WITHOUT_WORKERS = ("dcp", "front")
"""Runs that start no process; where a worker would be killed, the command alone is."""
USUAL = {"SIGTERM": 143, "SIGINT": 130}
DONE = (0, 6)
"""Exit codes of a command that went to its end; 6: tiny networks are hardly faster when pruned."""
TRIES = 8
"""How often a command is given again until it is done."""
MARK = "KILLS_CELL"
"""The variable by which all processes of a command are told, also those in a group of their own."""
GRACE_S = 5.0
"""Seconds in which processes may end after their command has."""
LIMIT_S = 600.0


def main() -> int:
    """Make the kills that are missing, then write the table; exits 1 where a gate fails."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it, and so would commands
    until = time.monotonic() + 60 * asked.minutes
    weights = make_weights()
    for number in range(asked.first, 0 if asked.table else asked.kills):
        if stored(TABLE, f"{number:02d}") is None and time.monotonic() > until:
            break
        done = cell(TABLE, f"{number:02d}", lambda n=number: _kill_and_resume(n, weights))  # type: ignore[misc]
        print(number, done["run"], done["how"], done["victim"], done["exit_codes"], *done["faults"], flush=True)
    return _write_table(asked.kills)


def _write_table(kills: int) -> int:
    cells = [each for number in range(kills) if (each := stored(TABLE, f"{number:02d}"))]
    rows: dict[str, dict[str, Any]] = {}
    for each in cells:
        row = rows.setdefault(f"{each['run']}, {each['how']}", {"kills": 0, "faults": []})
        row["kills"] += 1
        row["faults"] += [f"kill {each['number']}: {fault}" for fault in each["faults"]]
    result = {"asked": kills, "kills": len(cells), "rows": rows}
    print(write(TABLE, "python -m benchmarks.kills", result, ("torch", "onnx", "loky")))
    return int(any(row["faults"] for row in rows.values()))


def _kill_and_resume(number: int, weights: bytes) -> dict[str, Any]:
    """Kill number so and so: every kind of runs comes in turn, and every way within it."""
    names = tuple(RUNS)
    run, how = names[number % len(names)], HOWS[number // len(names) % len(HOWS)]
    if how == "worker SIGKILL" and run in WITHOUT_WORKERS:
        how = "command SIGKILL"
    undisturbed = cell(TABLE, f"undisturbed-{run.replace(' ', '-')}", lambda: _run_undisturbed(run, weights))
    draw = random.Random(number)
    share = draw.uniform(0.05, 0.95)
    with tempfile.TemporaryDirectory() as place:
        for attempt in range(TRIES):  # one that was done before it was killed begins anew, to be killed earlier
            command_ = Command(run, Path(place, str(attempt)), f"{number}-{os.getpid()}-{attempt}", weights)
            ended = command_.kill(how, share * undisturbed["seconds"], draw)
            if ended["victim"]:
                break
            share *= 0.6
        codes, faults = [ended["exit_code"]], list(ended["faults"])
        while len(codes) <= TRIES and codes[-1] not in DONE:
            codes.append(command_.finish()["exit_code"])
        faults += [f"{left} processes left in the end" for left in [len(command_.list_processes(GRACE_S))] if left]
        results, expected = digest_results(command_.folder), undisturbed["results"]
        faults += [f"{name} differs" for name in {**expected, **results} if expected.get(name) != results.get(name)]
        left = set(command_.list_temporary()) - set(undisturbed["temporary"])
        faults += [f"temporary {name} left" for name in sorted(left)]
    return {"number": number, "run": run, "how": how, "share": share, "victim": ended["victim"],
            "after_s": ended["after_s"], "exit_codes": codes, "faults": faults}  # fmt: skip


def _run_undisturbed(run: str, weights: bytes) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        whole = Command(run, Path(place, "run"), f"undisturbed-{os.getpid()}", weights)
        ended = whole.finish()
        assert ended["exit_code"] in DONE, ended["errors"]
        return {"run": run, "seconds": ended["seconds"], "results": digest_results(whole.folder),
                "temporary": sorted(whole.list_temporary())}  # fmt: skip


class Command:
    """One command in a folder of its own, which is given until it is done."""

    def __init__(self, run: str, place: Path, mark: str, weights: bytes) -> None:
        self.run, self.folder, self.mark = run, place / "work", mark
        self._temporary = place / "temporary"
        self._started: list[int] = []
        lay_out(self.folder, weights)
        self._temporary.mkdir()

    def finish(self) -> dict[str, Any]:
        """Give the command, and wait for its end."""
        began = time.monotonic()
        with self._start() as process:
            _, errors = process.communicate(timeout=LIMIT_S)
        return {"exit_code": process.returncode, "errors": errors, "seconds": time.monotonic() - began}

    def kill(self, how: str, after_s: float, draw: random.Random) -> dict[str, Any]:
        """Give the command and kill it after some seconds; without a victim where it was faster."""
        began, victim = time.monotonic(), ""
        with self._start() as process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(after_s)
            while process.poll() is None and not victim:
                victim = self._strike(how, process, draw)
                time.sleep(0 if victim else 0.01)
            struck_s = time.monotonic() - began
            _, errors = process.communicate(timeout=LIMIT_S)
        faults = []
        if victim and how in USUAL and process.returncode != USUAL[how]:
            faults.append(f"{how} ended with {process.returncode}")
        if victim and "Traceback" in errors:
            faults.append("a traceback was shown")
        if left := self.list_processes(GRACE_S):
            faults.append(f"left after the kill: {'; '.join(left.values())}")
            for each in left:
                os.kill(each, signal.SIGKILL)
        return {"victim": victim, "exit_code": process.returncode, "after_s": round(struck_s, 2), "faults": faults}

    def list_processes(self, grace_s: float) -> dict[int, str]:
        """The processes of this command that live after so many seconds: their numbers and what they run."""
        until = time.monotonic() + grace_s
        while (living := self._find_processes()) and time.monotonic() < until:
            time.sleep(0.05)
        return living

    def list_temporary(self) -> list[str]:
        """The names of what is among the temporary files, and of semaphores of these commands."""
        semaphores = (each for number in self._started for each in Path("/dev/shm").glob(f"sem.loky-{number}-*"))
        return [path.name for path in (*self._temporary.iterdir(), *semaphores)]

    @contextmanager
    def _start(self) -> Iterator[subprocess.Popen[str]]:
        environment = {**os.environ, MARK: self.mark, "TMPDIR": str(self._temporary), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            command(self.run), cwd=self.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip
        self._started.append(process.pid)
        with process:
            yield process

    def _strike(self, how: str, process: subprocess.Popen[str], draw: random.Random) -> str:
        """Kill what is to be killed; says what it was, nothing where there is no such process yet."""
        if how == "worker SIGKILL":
            workers = {number: line for number, line in self._find_processes().items() if number != process.pid}
            if not workers:
                return ""
            number = draw.choice(sorted(workers))
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
            return workers[number]
        number = next(each for each in signal.Signals if each.name == how.rsplit(maxsplit=1)[-1])
        if how in {"SIGTERM", "command SIGKILL"}:
            process.send_signal(number)
            return "command"
        os.killpg(process.pid, number)
        return "group"

    def _find_processes(self) -> dict[int, str]:
        mark, living = f"{MARK}={self.mark}".encode(), {}
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    line = (entry / "cmdline").read_bytes().decode().split("\0")
                    living[int(entry.name)] = " ".join(line[1:3])
        return living


if __name__ == "__main__":
    sys.exit(main())
