"""A whole run whose budget, loop on the real file and closing times are all of a device elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from phones import MadeUpPhone
from sshd import Board

from deploy_prune import __main__
from deploy_prune.records import read_record
from deploy_prune.results import BenchResult, ShipResult

COMMAND = ["prune", "resnet20", "--data", "digits", "--method", "magnitude", "--target", "tflite", "--json"]
MISSED, NOISY = 1, 5


@pytest.mark.slow
def test_a_run_is_profiled_verified_and_timed_on_a_board(board: Board, tmp_path: Path) -> None:
    code = __main__.run([*COMMAND, "--budget", "latency=0.6x", "--epochs", "1", "--device", board.address, "--store",
                         str(tmp_path / "store"), "--out", str(tmp_path / "run")])  # fmt: skip
    assert code in {0, MISSED}, "one epoch may leave the budget missed by noise; nothing else may be wrong"
    check_shipped(tmp_path / "run")
    dense, pruned = read_record(tmp_path / "run" / "timed-1.json", BenchResult).measurements
    assert dense.ratio is None and pruned.ratio is not None and pruned.ratio < 0.8
    assert board.await_clean()


@pytest.mark.slow
def test_a_run_is_verified_and_timed_on_a_phone(ready_android: MadeUpPhone, tmp_path: Path) -> None:
    """The budget is in multiply-adds: a sample of a latency table takes a minute and a half under the emulator."""
    code = __main__.run([*COMMAND, "--budget", "0.5x", "--no-finetune", "--device", ready_android.address, "--out",
                         str(tmp_path / "run")])  # fmt: skip
    assert code in {0, NOISY}, "an emulated clock may hold too little still to be compared by"
    check_shipped(tmp_path / "run")
    if code == 0:
        measurements = read_record(tmp_path / "run" / "timed-1.json", BenchResult).measurements
        assert all("Made Up" in each.target.device and each.delegation is not None for each in measurements)


def check_shipped(run: Path) -> None:
    """Every file computes on the device what the network computes."""
    shipped = read_record(run / "shipped-1.json", ShipResult)
    for row in (*shipped.dense, *shipped.pruned):
        assert row.status == "verified" and row.there is not None and row.there.passed
