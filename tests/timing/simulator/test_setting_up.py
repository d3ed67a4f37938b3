"""A simulator that is there is left alone; without Debian's tools nothing is left behind."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from simulated import needs_qemu

from deploy_prune.errors import Unavailable
from deploy_prune.timing.arm64.system import WHEELS
from deploy_prune.timing.simulator.folder import READY
from deploy_prune.timing.simulator.setting_up import set_up


@needs_qemu
def test_what_is_whole_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / READY).write_text(json.dumps(WHEELS))
    set_up(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [READY]


@needs_qemu
def test_a_failure_names_what_was_wanted_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "bin" / "gcc"
    compiler.parent.mkdir()
    compiler.write_text("#!/bin/sh\necho 'no such header' >&2\nexit 1\n")
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{compiler.parent}:/usr/bin:/bin")
    with pytest.raises(Unavailable, match="for want of the counting plugin: no such header"):
        set_up(tmp_path / "home" / "simulator")
    assert not list((tmp_path / "home").iterdir())
