"""What a forward returned keeps its form, whatever is done to its tensors."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_structure, treespec_dumps

from deploy_prune.errors import ConfigError
from deploy_prune.graph.returned import make_forms_known
from deploy_prune.train.outputs import convert_to_fp32, join_batches, list_tensors, map_tensors

ONE = {"scores": torch.ones(2, 3), "more": [torch.zeros(2, dtype=torch.int64), None]}


def test_tensors_are_listed_in_the_order_of_the_form() -> None:
    assert [tuple(each.shape) for each in list_tensors(ONE)] == [(2, 3), (2,)]
    assert list_tensors(None) == ()


@dataclasses.dataclass
class Detected:
    """What a network returns as an object of its own."""

    boxes: torch.Tensor
    more: Any = None


def test_a_dataclass_is_opened_like_a_dictionary() -> None:
    returned = Detected(torch.ones(2, 4), (torch.zeros(2), None))
    make_forms_known([returned])
    make_forms_known(returned)  # once more does no harm
    assert [tuple(each.shape) for each in list_tensors(returned)] == [(2, 4), (2,)]
    assert "Detected" in treespec_dumps(tree_structure(returned))  # ExecuTorch writes it down
    joined = join_batches([returned, map_tensors(lambda tensor: tensor + 1, returned)])
    assert isinstance(joined, Detected)
    assert joined.boxes.shape == (4, 4)
    assert joined.more[0].tolist() == [0, 0, 1, 1]


def test_batches_are_joined_in_their_form() -> None:
    joined = join_batches([ONE, map_tensors(lambda tensor: tensor + 1, ONE)])
    assert joined["scores"].tolist() == [[1.0] * 3] * 2 + [[2.0] * 3] * 2
    assert joined["more"][0].tolist() == [0, 0, 1, 1]
    assert joined["more"][1] is None
    with pytest.raises(ConfigError, match="returns a set cannot be judged"):
        join_batches([({1},), ({1},)])


def test_whole_numbers_stay_whole_in_fp32() -> None:
    halves = map_tensors(lambda tensor: tensor.half() if tensor.is_floating_point() else tensor, ONE)
    assert [each.dtype for each in list_tensors(convert_to_fp32(halves))] == [torch.float32, torch.int64]
