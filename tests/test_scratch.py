"""Temporary folders: whose owner lives they stay, whose owner was killed they are swept by whoever comes next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from deploy_prune import scratch

OWNER = """
import sys
from pathlib import Path
from deploy_prune.scratch import make_scratch

with make_scratch() as folder:
    (folder / "half").write_text("half")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, of this process and of those that it starts."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def start_owner() -> tuple[subprocess.Popen[str], Path]:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdout
    return owner, Path(owner.stdout.readline().strip())


def test_a_folder_is_gone_when_its_block_ends(place: Path) -> None:
    with scratch.make_scratch() as folder:
        assert folder.parent == place and folder.stat().st_mode & 0o777 == 0o700
        (folder / "file").write_text("some")
    assert list(place.iterdir()) == []


def test_what_a_killed_owner_left_is_swept_and_a_live_owners_folder_stays(place: Path) -> None:
    (killed, left), (live, held) = start_owner(), start_owner()
    with killed, live:
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        assert left.exists() and held.exists()
        scratch.sweep_scratch()
        assert not left.exists()
        assert (held / "half").exists()
    assert list(place.iterdir()) == []


def test_what_was_to_go_with_a_folder_goes_when_its_owner_was_killed(place: Path) -> None:
    for owner, gone in ((999_999_999, True), (os.getpid(), False)):  # the second number is a living process' by now
        folder, beside = place / f"{scratch.PREFIX}{owner}", place / f"semaphore-{owner}-1"
        folder.mkdir()
        beside.write_text("")
        (folder / scratch.BESIDE).write_text(f"{owner}\n{place}/semaphore-{owner}-*")
        scratch.sweep_scratch()
        assert not folder.exists()
        assert beside.exists() is not gone


def test_a_folder_that_this_process_holds_survives_its_own_sweeps(place: Path) -> None:
    with scratch.make_scratch() as first, scratch.make_scratch() as second:
        scratch.sweep_scratch()
        assert first.exists() and second.exists()


def test_files_links_and_other_names_are_left_alone(place: Path) -> None:
    (place / "deploy-prune-work-file").write_text("a file")
    (place / "elsewhere").mkdir()
    (place / "deploy-prune-work-link").symlink_to(place / "elsewhere")
    scratch.sweep_scratch()
    assert len(list(place.iterdir())) == 3


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_of_another_user_stays(place: Path) -> None:
    (place / "deploy-prune-work-other").mkdir()
    os.chown(place / "deploy-prune-work-other", 12345, 12345)
    scratch.sweep_scratch()
    assert (place / "deploy-prune-work-other").exists()
