"""Whether a process is our command is told by the name that it was started with."""

from __future__ import annotations

import pytest

from deploy_prune import errors, leaving


@pytest.mark.parametrize("name", ["/usr/bin/deploy-prune", "deploy-prune.exe", "deploy-prune-script.py"])
def test_the_console_script_is_ours(name: str) -> None:
    assert leaving.is_our_command(name)


@pytest.mark.parametrize("name", ["", "-c", "/usr/bin/pytest", "/home/deploy-prune/train.py"])
def test_whoever_imports_us_keeps_their_own_way_to_end(name: str) -> None:
    assert not leaving.is_our_command(name)


def test_the_exit_code_is_that_of_every_interruption() -> None:
    assert leaving.INTERRUPTED == errors.INTERRUPTED
