"""A process that works for another one ends with it, whatever it is doing and whoever holds a pipe open."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

FOLLOWER = """
import os, sys, time
from deploy_prune.processes import lifeline
{before}
lifeline.follow({parent})
print(os.getpid(), flush=True)
{work}
"""
BY_WATCHING = "lifeline._end_by_kernel = lambda: False"


def start_parent(before: str, work: str) -> subprocess.Popen[str]:
    """A process that starts a follower and waits; its stdin is the follower's too, which nobody closes."""
    follower = FOLLOWER.format(before=before, parent="int(sys.argv[1])", work=work)
    code = f"""
        import os, subprocess, sys
        subprocess.Popen([sys.executable, "-c", {follower!r}, str(os.getpid())]).wait()
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def ends(pid: int) -> bool:
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}/cmdline").exists() and time.monotonic() < deadline:
        if not Path(f"/proc/{pid}/cmdline").read_bytes():
            return True  # dead, and not yet asked for by whoever inherited it
        time.sleep(0.02)
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    ("before", "work"),
    [("pass", "sum(range(10**12))"), (BY_WATCHING, "time.sleep(60)")],
    ids=["by the kernel, within a call that lets no thread work", "by watching"],
)
def test_a_follower_ends_with_a_parent_that_is_killed(before: str, work: str) -> None:
    with start_parent(before, work) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.kill()
        parent.wait()
        assert ends(pid)


def test_a_follower_whose_parent_is_gone_already_does_not_begin() -> None:
    code = FOLLOWER.format(before="pass", parent=999_999_999, work="")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
