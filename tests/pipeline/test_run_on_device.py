"""A whole run whose budget, loop on the real file and closing times are all of a host that ssh leads to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sshd import Board

from deploy_prune import __main__


@pytest.mark.slow
def test_a_run_is_profiled_verified_and_timed_on_a_board(board: Board, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ["prune", "resnet20", "--data", "digits", "--budget", "latency=0.6x", "--method", "magnitude", "--epochs",
               "1", "--target", "tflite", "--device", board.address, "--store", str(tmp_path / "store"),
               "--out", str(run), "--json"]  # fmt: skip
    code = __main__.run(command)
    assert code in {0, 1}, "one epoch may leave the budget missed by noise; nothing else may be wrong"
    shipped = json.loads((run / "shipped-1.json").read_text())
    assert all(
        row["status"] == "verified" and row["there"]["passed"] for row in (*shipped["dense"], *shipped["pruned"])
    )
    timed = json.loads((run / "timed-1.json").read_text())["measurements"]
    assert len(timed) == 2 and timed[1]["ratio"] < 0.8
    assert board.await_clean()
