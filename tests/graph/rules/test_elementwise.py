"""The rows of the picture in `meet`: what each kind of operand does to channels that it meets."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from deploy_prune.graph import labels as lab
from deploy_prune.graph.labels import LOCKED, NEUTRAL
from deploy_prune.graph.ledger import Ledger
from deploy_prune.graph.recording import Recording
from deploy_prune.graph.rules.elementwise import meet

SHAPE = (1, 3, 2, 2)


def channels(*numbers: int, shape: Sequence[int] = SHAPE, axis: int = 1) -> Tensor:
    return lab.along(torch.tensor(numbers), axis, shape)


def said(ledger: Ledger) -> dict[str, list[object]]:
    recording = ledger.recording
    ties = [pair for tie in recording.ties for pair in zip(tie.left.tolist(), tie.right.tolist(), strict=True)]
    pins, locks = (
        [label for each in said for label in each.labels.tolist()] for said in (recording.pins, recording.locks)
    )
    return {name: list(labels) for name, labels in (("ties", ties), ("pins", pins), ("locks", locks)) if labels}


TIED = {"ties": [(10, 20), (11, 21), (12, 22)]}


@pytest.mark.parametrize(
    ("right", "expected"),
    [
        pytest.param(channels(20, 21, 22), TIED, id="a residual"),
        pytest.param(channels(20, 21, 22, shape=(3, 1, 1), axis=0), TIED, id="a scale"),
        pytest.param(lab.constant(20, (1, 1, 2, 2)), {"pins": [20]}, id="a gate"),
        pytest.param(lab.constant(LOCKED, ()), {}, id="a number"),
        pytest.param(lab.constant(LOCKED, SHAPE), {"locks": [10, 11, 12]}, id="unknown content"),
        pytest.param(lab.constant(NEUTRAL, SHAPE), {}, id="zeros"),
        pytest.param(channels(20, 21, shape=(1, 1, 2, 2), axis=2), {"locks": [20, 21]}, id="an outer product"),
    ],
)
@pytest.mark.parametrize("swapped", [False, True], ids=["in this order", "swapped"])
def test_channels_meet_an_operand_as_the_picture_says(
    right: Tensor, expected: dict[str, list[object]], *, swapped: bool
) -> None:
    ledger = Ledger(Recording({}), {}, {})
    operands = [lab.align(channels(10, 11, 12), SHAPE), lab.align(right, SHAPE)]
    labels = meet(ledger, *(reversed(operands) if swapped else operands))
    if swapped and len(lab.varying(right)) == 1:  # two that vary keep their order: the first one's labels stay
        mirrored = {"ties": [(b, a) for a, b in TIED["ties"]]} if expected is TIED else {"locks": [10, 11, 12]}
        assert said(ledger) == mirrored
        return
    assert said(ledger) == expected
    assert labels.shape == SHAPE
    assert labels[0, :, 0, 0].tolist() == [10, 11, 12]


def test_the_labels_of_what_meets_zeros_are_the_others() -> None:
    ledger = Ledger(Recording({}), {}, {})
    padded = channels(NEUTRAL, 11, NEUTRAL)
    labels = meet(ledger, lab.align(padded, SHAPE), lab.align(channels(20, 21, 22), SHAPE))
    assert said(ledger) == {"ties": [(11, 21)]}
    assert labels[0, :, 1, 1].tolist() == [20, 11, 22]
