"""When a selection stops by itself: on losses written down by hand."""

from __future__ import annotations

from deploy_prune.scoring.discrimination.stopping import StartRelative, StepRelative


def test_dcps_stop_asks_for_small_changes_in_a_row_and_not_the_first_one() -> None:
    stop = StartRelative(0.1, patience=2)
    assert not stop([10.0])
    assert not stop([10.0, 9.9, 9.8])  # the first change does not count, one is not enough
    assert stop([10.0, 5.0, 4.5, 4.4])  # 0.05 and 0.01 of the start
    assert not stop([10.0, 5.0, 4.5, 2.0])
    assert not stop([10.0, 5.0, 4.9, 3.0, 2.9])  # not in a row
    assert stop([10.0, 5.0, 5.9, 5.5])  # a loss may rise


def test_the_relative_stop_holds_a_change_against_the_loss_before_it() -> None:
    stop = StepRelative(0.1, patience=2)
    assert not stop([10.0, 5.0, 4.5, 4.0])  # 0.1 and 0.11 of what was before
    assert stop([10.0, 5.0, 4.6, 4.3])
    assert stop([10.0, 5.0, 6.0, 7.0])  # a rise is no improvement
    assert stop([10.0, 0.0, 0.0, 0.0])
