"""What was started for us goes when we are killed, also in a session of its own and when it has no parent any more."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from deploy_prune.processes.reaper import list_descendants, reaping

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

DRIVER = """
import subprocess, sys, time
from deploy_prune.processes.reaper import reaping

with reaping():
    sleeper = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(120)"]
    between = f"import subprocess, time; subprocess.Popen({sleeper}, start_new_session=True); time.sleep(120)"
    child = subprocess.Popen([sys.executable, "-c", between])
    time.sleep(4)  # longer than the reaper takes to look
    child.kill()
    child.wait()
    print("alone", flush=True)
    time.sleep(120)
"""


def is_running(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


@pytest.mark.heavy
def test_when_we_are_killed_the_orphans_of_our_children_go() -> None:
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(DRIVER)], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout
        orphan = int(driver.stdout.readline())
        assert driver.stdout.readline() == "alone\n"
        assert is_running(orphan)
        driver.kill()
        deadline = time.monotonic() + 20
        while is_running(orphan) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not is_running(orphan)


def test_when_the_block_is_left_nothing_is_touched() -> None:
    with reaping():
        child = subprocess.Popen(["sleep", "30"])
        assert child.pid in {pid for pid, _ in list_descendants(os.getpid())}
    assert child.poll() is None
    child.kill()
    child.wait()
