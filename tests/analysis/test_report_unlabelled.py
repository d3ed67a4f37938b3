"""A report of images without labels says how far outputs are from the dense network's, and how that was judged."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from finished import RUN, page

from deploy_prune.results import RunSummary
from deploy_prune.values import Quality


def against_dense(quality: Quality, error: float) -> Quality:
    return dataclasses.replace(quality, name="agreement with the dense network", output_error=error)


def unlabelled() -> RunSummary:
    """The finished run, as if its images had no labels."""
    test = dataclasses.replace(
        RUN.test, dense=against_dense(RUN.test.dense, 0.0), pruned=against_dense(RUN.test.pruned, 0.01)
    )
    cut = dataclasses.replace(RUN.cut, val=against_dense(RUN.cut.val, 0.5), val_recalibrated=None)
    trained = dataclasses.replace(RUN.trained, val=against_dense(RUN.trained.val, 0.02))
    dense = dataclasses.replace(RUN.dense, judged="output 1 (2, 8, 8): the share of positions")
    return dataclasses.replace(RUN, dense=dense, cut=cut, trained=trained, test=test)


def test_the_table_has_the_error_of_every_step_and_of_the_test(tmp_path: Path) -> None:
    """A hundredth of the variance is 20 dB below it."""
    told = page(unlabelled(), tmp_path)
    assert "| error of the outputs on validation, after the cut |  | 0.5000 (3.0 dB) |  |" in told
    assert "0.0200 (17.0 dB)" in told
    assert "| **error of the outputs on test, once** | 0 | 0.0100 (20.0 dB) |  |" in told


def test_it_says_what_was_judged_and_how(tmp_path: Path) -> None:
    told = page(unlabelled(), tmp_path)
    assert "No label was used: every network is held against the dense one." in told
    assert "Agreement is, by output: output 1 (2, 8, 8): the share of positions." in told


def test_with_labels_it_says_nothing_of_all_that(tmp_path: Path) -> None:
    told = page(RUN, tmp_path)
    assert "error of the outputs" not in told
    assert "No label" not in told
