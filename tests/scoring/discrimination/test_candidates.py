"""The readers of a group, and how hard its candidates are pulled at, are worked out by hand."""

from __future__ import annotations

from nets import NETS

from deploy_prune.graph import trace
from deploy_prune.scoring.discrimination.candidates import readers_of


def reading(name: str) -> dict[str, list[tuple[str, int]]]:
    graph = trace(NETS[name]())
    return {
        group.name: [(member.parameter, member.axis) for member in readers_of(graph, group)] for group in graph.free
    }


def test_a_plain_layer_is_read_by_the_next() -> None:
    assert reading("plain") == {"a": [("b.weight", 1)], "b": [("head.2.weight", 1)]}


def test_a_depthwise_layer_reads_nothing_of_its_own() -> None:
    """Published nowhere: channels are selected in the layer behind it."""
    assert reading("depthwise")["a"] == [("b.weight", 1)]


def test_a_stream_is_read_by_all_that_follow() -> None:
    assert reading("residual") == {"a": [("b.weight", 1), ("head.2.weight", 1)], "b": [("c.weight", 1)]}


def test_a_transposed_layer_reads_along_its_first_axis() -> None:
    assert reading("transposed")["a"] == [("t.weight", 0)]


def test_every_layer_of_a_dense_block_reads_what_came_before() -> None:
    assert reading("dense_block")["a"] == [("b.weight", 1), ("c.weight", 1), ("head.2.weight", 1)]
