"""Programs are found, or it is said what brings them; one that never ends is given up."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy_prune.errors import Unavailable
from deploy_prune.processes.programs import find_program, run_tool


def test_the_first_program_that_there_is_is_taken() -> None:
    assert Path(find_program(("no-such-program", "sh"), "")).name == "sh"


def test_a_program_that_is_missing_is_named_with_what_brings_it() -> None:
    with pytest.raises(Unavailable, match="the program no-such-program is needed, and not installed") as caught:
        find_program(("no-such-program", "nor-this"), "apt-get install it")
    assert caught.value.hint == "apt-get install it"


def test_a_program_that_never_ends_is_given_up() -> None:
    with pytest.raises(Unavailable, match="sleep did not end within 0 s"):
        run_tool(("sleep", "60"), timeout_s=0.05)


def test_how_a_program_ended_is_for_the_caller_to_see() -> None:
    said = run_tool(("sh", "-c", "cat; echo no >&2; exit 3"), given="yes")
    assert (said.returncode, said.stdout, said.stderr) == (3, "yes", "no\n")
