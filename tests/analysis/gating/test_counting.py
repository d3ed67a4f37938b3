"""What is counted of a candidate is held against its limit at once: another session would say the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from finished import top1

from deploy_prune.analysis.artifacts import describe_artifact
from deploy_prune.analysis.gating.counting import Counted, check_counts, count
from deploy_prune.analysis.gating.gate import name_check, needs_a_second_session
from deploy_prune.analysis.gating.limits import Limits
from deploy_prune.errors import ConfigError
from deploy_prune.values import Delegation

PARTLY = Delegation(taken=7, operators=10, partitions=2)


@pytest.mark.parametrize(
    ("limits", "counted", "side", "said"),
    [
        (Limits(size_bytes=99), Counted(100), "above", "file size 100 bytes, limit 99"),
        (Limits(size_bytes=100), Counted(100), "within", "file size 100 bytes, limit 100"),
        (Limits(peak_memory_bytes=4), Counted(1), "above", "peak memory 5 bytes, limit 4"),
        (Limits(not_delegated=2), Counted(1, PARTLY), "above", "not delegated of 10 3 operators, limit 2"),
        (Limits(not_delegated=3), Counted(1, PARTLY), "within", "not delegated of 10 3 operators, limit 3"),
        (Limits(partitions=1), Counted(1, PARTLY), "above", "delegated in 2 partitions, limit 1"),
        (Limits(accuracy=0.95), Counted(1, None, top1(0.9, (0.88, 0.92))), "above", "wrong 0.1"),
        (Limits(accuracy=0.91), Counted(1, None, top1(0.9, (0.88, 0.92))), "open", "wrong 0.1"),
        (Limits(accuracy=0.9), Counted(1, None, top1(0.9, (0.88, 0.92))), "within", "wrong 0.1"),
    ],
)
def test_a_count_is_held_against_its_limit(limits: Limits, counted: Counted, side: str, said: str) -> None:
    (check,) = check_counts(limits, counted, 5)
    assert check.side == side
    assert name_check(check).startswith(said)
    assert not needs_a_second_session((check,))


def test_a_file_that_xnnpack_takes_whole_is_one_partition(tiny_tflite: Path) -> None:
    counted = count(describe_artifact(tiny_tflite), Limits(not_delegated=0), None)
    assert counted.delegation is not None
    assert (counted.delegation.taken, counted.delegation.partitions) == (counted.delegation.operators, 1)


def test_a_runtime_without_a_delegate_is_refused_by_name(tiny_onnx: Path) -> None:
    with pytest.raises(ConfigError, match="onnxruntime does not say which operators a delegate takes"):
        count(describe_artifact(tiny_onnx), Limits(partitions=1), None)


def test_a_file_alone_says_nothing_of_its_accuracy(tiny_onnx: Path) -> None:
    with pytest.raises(ConfigError, match="nothing says how accurate"):
        count(describe_artifact(tiny_onnx), Limits(accuracy=0.5), None)
