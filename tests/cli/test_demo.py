"""The demo's budget is in milliseconds, and in MACs where this machine cannot be timed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deploy_prune.cli.demo import IN_MACS, IN_MS, run_whichever
from deploy_prune.errors import Inconclusive
from deploy_prune.pipeline.config import RunConfig


class Machine:
    """Notes what is run on it; a noisy one times nothing."""

    def __init__(self, *, noisy: bool, planned: bool = False) -> None:
        self.noisy, self.planned, self.ran = noisy, planned, list[tuple[str, str]]()

    def run(self, folder: Path, budget: str) -> Any:
        self.ran.append((folder.name, budget))
        if self.planned:
            folder.mkdir()
            (folder / "planning.json").touch()
        if self.noisy and budget == IN_MS:
            raise Inconclusive("this machine is too noisy to time on", hint="try again")
        return budget


def test_a_quiet_machine_is_timed(tmp_path: Path) -> None:
    machine = Machine(noisy=False)
    assert run_whichever(tmp_path / "demo-run", machine.run) == (tmp_path / "demo-run", IN_MS)
    assert machine.ran == [("demo-run", IN_MS)]


def test_a_noisy_one_gets_a_budget_in_macs_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine(noisy=True)
    folder, summary = run_whichever(tmp_path / "demo-run", machine.run)
    assert (folder.name, summary) == ("demo-run-in-macs", IN_MACS)
    assert "too noisy to time on: the demo goes on in" in capsys.readouterr().err


def test_noise_at_the_end_does_not_begin_another_run(tmp_path: Path) -> None:
    machine = Machine(noisy=True, planned=True)
    with pytest.raises(Inconclusive):
        run_whichever(tmp_path / "demo-run", machine.run)
    assert len(machine.ran) == 1


@pytest.mark.parametrize(("budget", "cost"), [(IN_MS, "latency"), (IN_MACS, "macs")])
def test_both_are_budgets(budget: str, cost: str) -> None:
    assert RunConfig(model="mobilenet_v2", data="digits", budget=budget).parsed_budget.cost == cost
