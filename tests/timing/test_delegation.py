"""Which operators lie within what a delegate took, worked out by hand; and every worker says how many those are."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy_prune.timing.client import start_worker
from deploy_prune.timing.delegation import Node, count_delegated, find_delegated
from deploy_prune.timing.devices import Job
from deploy_prune.values import Delegation

CHAIN = (Node((0, 9), (1,)), Node((1,), (2,)), Node((2, 8), (3,)), Node((3, 1), (4,)))
"""Input 0, constants 8 and 9, output 4; the last operator reads what the first made."""


@pytest.mark.parametrize(
    ("delegates", "found"),
    [
        ([], set()),
        ([Node((0, 8, 9), (4,))], {0, 1, 2, 3}),
        ([Node((0, 9), (1,)), Node((2, 8, 1), (4,))], {0, 2, 3}),
        ([Node((1, 8), (3,))], {1, 2}),
        ([Node((0, 9), (1, 2))], {0, 1}),
    ],
)
def test_a_part_is_what_lies_between_a_delegates_outputs_and_its_inputs(delegates: list[Node], found: set[int]) -> None:
    assert find_delegated(CHAIN, delegates) == found


def test_parts_are_counted_as_well() -> None:
    nodes = (*CHAIN, Node((0, 9), (1,)), Node((2, 8, 1), (4,)))
    assert count_delegated(nodes, len(CHAIN)) == Delegation(taken=3, operators=4, partitions=2)


def test_a_worker_tells_what_the_delegate_took_where_it_runs(tiny_tflite: Path, tiny_onnx: Path) -> None:
    with start_worker(Job(tiny_tflite, "litert", 1, (0,), 0)) as worker:
        assert worker.delegation(timeout_s=60) == Delegation(taken=4, operators=4, partitions=1)
    with start_worker(Job(tiny_onnx, "onnxruntime", 1, (0,), 0)) as worker:
        assert worker.delegation(timeout_s=60) is None
