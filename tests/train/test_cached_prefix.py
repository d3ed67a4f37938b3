"""A prefix that is run once per batch gives what the whole network gives, from a frontier of one tensor or several."""

from __future__ import annotations

import pytest
import torch
from nets import NETS

from deploy_prune.graph import trace
from deploy_prune.graph.flat_network import Flat, flatten
from deploy_prune.train.cached_prefix import CachedPrefix, count_bytes


def flat_and_images(name: str) -> tuple[Flat, list[torch.Tensor]]:
    network = NETS[name]()
    flat = flatten(network, [layer.weight for layer in trace(network).layers], batch=3)
    generator = torch.Generator().manual_seed(1)
    return flat, [torch.randn(3, *network.input_shape, generator=generator) for _ in range(2)]


def answers(flat: Flat, images: list[torch.Tensor]) -> list[torch.Tensor]:
    with torch.no_grad():
        return [flat.part(flat.outputs, (flat.image,))((batch,), flat.tensors)[0] for batch in images]


@pytest.mark.parametrize("name", ["plain", "residual", "dense_block", "squeeze_excite", "concat"])
@pytest.mark.heavy
def test_from_every_frontier_on_the_network_gives_the_same(name: str) -> None:
    flat, images = flat_and_images(name)
    prefix, expected = CachedPrefix(flat, images), answers(*flat_and_images(name))
    for frontier in flat.frontiers[:-1]:
        prefix.advance(frontier, flat.tensors)
        assert prefix.frontier == frontier
        read = prefix.reader(flat.outputs, flat.tensors)
        for number, answer in enumerate(expected):
            assert torch.allclose(read(number)[flat.outputs[0]], answer, atol=1e-6)


def test_what_lies_before_the_frontier_is_not_run_again() -> None:
    """New weights of the first layer change nothing once its output is kept."""
    flat, images = flat_and_images("residual")
    prefix, expected = CachedPrefix(flat, images), answers(flat, images)
    prefix.advance(next(frontier for frontier in flat.frontiers if len(frontier) == 2), flat.tensors)
    first = flat.constants[next(node for node in flat.layers[0].all_input_nodes if node in flat.constants)]
    read = prefix.reader(flat.outputs, {**flat.tensors, first: torch.zeros_like(flat.tensors[first])})
    assert torch.allclose(read(0)[flat.outputs[0]], expected[0], atol=1e-6)


def test_a_frontier_that_is_too_large_to_keep_is_passed_over() -> None:
    """One byte too few for the two tensors of two batches."""
    flat, images = flat_and_images("residual")
    pair = next(frontier for frontier in flat.frontiers if len(frontier) == 2)
    enough = 2 * sum(map(count_bytes, pair))
    small, large = (CachedPrefix(flat, images, limit_bytes=limit) for limit in (enough - 1, enough))
    for prefix in (small, large):
        prefix.advance(pair, flat.tensors)
    assert small.frontier == (flat.image,)
    assert large.frontier == pair


def test_a_frontier_never_moves_to_the_front() -> None:
    flat, images = flat_and_images("plain")
    prefix = CachedPrefix(flat, images)
    prefix.advance((flat.cuts[2],), flat.tensors)
    prefix.advance((flat.cuts[1],), flat.tensors)
    assert prefix.frontier == (flat.cuts[2],)
