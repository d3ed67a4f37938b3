"""A whole run whose budget, loop on the real file and closing times are all of a device elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from phones import MadeUpPhone
from sshd import Board

from deploy_prune import __main__
from deploy_prune.records import read_record
from deploy_prune.results import BenchResult, ShipResult


@pytest.mark.slow
def test_a_run_is_profiled_verified_and_timed_on_a_board(board: Board, tmp_path: Path) -> None:
    run_on(board.address, tmp_path)
    assert board.await_clean()


@pytest.mark.slow
def test_a_run_is_profiled_verified_and_timed_on_a_phone(ready_android: MadeUpPhone, tmp_path: Path) -> None:
    run_on(ready_android.address, tmp_path)


def run_on(address: str, tmp_path: Path) -> None:
    """A run of the command line, all of whose milliseconds are those of a device."""
    run = tmp_path / "run"
    command = ["prune", "resnet20", "--data", "digits", "--budget", "latency=0.6x", "--method", "magnitude", "--epochs",
               "1", "--target", "tflite", "--device", address, "--store", str(tmp_path / "store"),
               "--out", str(run), "--json"]  # fmt: skip
    code = __main__.run(command)
    assert code in {0, 1}, "one epoch may leave the budget missed by noise; nothing else may be wrong"
    shipped = read_record(run / "shipped-1.json", ShipResult)
    for row in (*shipped.dense, *shipped.pruned):
        assert row.status == "verified" and row.there is not None and row.there.passed
    dense, pruned = read_record(run / "timed-1.json", BenchResult).measurements
    assert dense.ratio is None and pruned.ratio is not None and pruned.ratio < 0.8
