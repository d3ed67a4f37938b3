"""The simulator's folder is whole or refused, and a program sees the core in it that it runs on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy_prune.errors import Unavailable
from deploy_prune.timing.arm64.system import SYSTEM, WHEELS
from deploy_prune.timing.simulator.cores import find_core
from deploy_prune.timing.simulator.folder import READY, check_folder, make_view, usual_folder

ROOT = Path(__file__).parents[3]


def test_the_wheels_are_those_that_everything_here_is_tested_with() -> None:
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert {name: pinned[name] for name in WHEELS} == WHEELS


def test_a_folder_for_other_wheels_has_another_name() -> None:
    assert usual_folder().name == f"simulator-{'-'.join(WHEELS.values())}"


def test_a_folder_that_was_never_set_up_is_refused_with_what_sets_it_up(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="the simulator is not set up") as caught:
        check_folder(tmp_path)
    assert "deploy-prune doctor --device sim://cortex-a72 --setup" in caught.value.hint


def test_a_folder_with_other_wheels_is_refused(tmp_path: Path) -> None:
    (tmp_path / READY).write_text(json.dumps({**WHEELS, "numpy": "1.0"}))
    with pytest.raises(Unavailable, match="holds other runtimes"):
        check_folder(tmp_path)


def test_a_whole_folder_passes(tmp_path: Path) -> None:
    (tmp_path / READY).write_text(json.dumps(WHEELS))
    check_folder(tmp_path)


def test_a_program_sees_the_system_its_core_and_this_package(tmp_path: Path) -> None:
    (tmp_path / SYSTEM / "usr").mkdir(parents=True)
    (tmp_path / SYSTEM / "usr" / "there").touch()
    view = tmp_path / "view"
    view.mkdir()
    make_view(view, tmp_path, find_core("cortex-a76"))
    assert (view / "usr" / "there").exists()
    assert "0xd0b" in (view / "proc" / "cpuinfo").read_text()
    assert (view / "sys/devices/system/cpu/possible").read_text() == "0\n"
    assert (view / "deploy-prune" / "deploy_prune" / "plugins.py").exists()
