"""The selection set, and what one layer's selection sees of it: pruned inputs, dense targets, kept or made anew."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from studies import stack, stripes

from deploy_prune.errors import ConfigError
from deploy_prune.graph import trace
from deploy_prune.graph.flat_network import Flat, flatten
from deploy_prune.scoring.discrimination.cached_batches import SelectionSet, selection_set


def flat_of_stack(batch: int = 16) -> Flat:
    network = stack()
    return flatten(network, [layer.weight for layer in trace(network).layers], batch=batch)


def test_the_selection_set_is_whole_batches_of_mixed_classes() -> None:
    """50 of 192 images, batches of 16: three of them, every class in each."""
    batches = selection_set(stripes(), 50, 16, seed=0)
    assert [len(batch.target) for batch in batches] == [16, 16, 16]
    assert all(len(np.unique(batch.target)) == 4 for batch in batches)
    together = torch.cat([batch.target for batch in batches])
    assert all(abs(int((together == label).sum()) - 12) <= 3 for label in range(4))


def test_the_seed_alone_decides_the_selection_set() -> None:
    one, same, other = (selection_set(stripes(), 64, 16, seed=seed)[0].images for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(("images", "batch"), [(20, 32), (1000, 256)])
def test_a_selection_set_smaller_than_a_batch_is_refused(images: int, batch: int) -> None:
    with pytest.raises(ConfigError, match=f"fewer than a batch of {batch}"):
        selection_set(stripes(), images, batch, seed=0)


def selection_set_within(limit_bytes: int) -> tuple[SelectionSet, Flat]:
    flat = flat_of_stack()
    batches = selection_set(stripes(), 48, 16, seed=0)
    return SelectionSet(flat, batches, flat.tensors, limit_bytes=limit_bytes), flat


@pytest.mark.parametrize("limit", [2 << 30, 100_000, 0])
def test_inputs_are_of_the_pruned_network_and_targets_of_the_dense_one(limit: int) -> None:
    """Whether they are kept or, being too large, computed anew in every pass."""
    desk, flat = selection_set_within(limit)
    pruned = dict(flat.tensors)
    pruned["1.0.weight"] = pruned["1.0.weight"].clone()
    pruned["1.0.weight"][:, ::2] = 0
    batches = selection_set(stripes(), 48, 16, seed=0)
    for weight, tensors in (("1.0.weight", flat.tensors), ("2.0.weight", pruned)):
        path = flat.path(weight, (flat.outputs[0],))
        assert path is not None
        rows = desk.rows([path], tensors)
        for _ in range(2):  # passes
            found = list(rows())
            assert len(found) == 3
            for batch, (piece,) in zip(batches, found, strict=True):
                with torch.no_grad():
                    given = flat.part(path.part.given, (flat.image,))((batch.images,), tensors)
                    target = flat.part(path.part.wanted[:-1], (flat.image,))((batch.images,), flat.tensors)
                assert all(torch.allclose(*pair, atol=1e-6) for pair in zip(piece.given, given, strict=True))
                assert torch.allclose(piece.targets[0], target[0], atol=1e-6)
                assert torch.equal(piece.labels, batch.target)


def test_what_is_small_is_computed_once() -> None:
    desk, flat = selection_set_within(2 << 30)
    path = flat.path("2.0.weight", (flat.outputs[0],))
    assert path is not None
    rows = desk.rows([path], flat.tensors)
    assert [row[0].given[0].data_ptr() for row in rows()] == [row[0].given[0].data_ptr() for row in rows()]
