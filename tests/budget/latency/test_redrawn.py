"""A trained network's file at other widths is the one that its converter would write; another network's is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from latencies import mixed

from deploy_prune import plugins
from deploy_prune.budget.latency.redrawn import open_redrawing
from deploy_prune.budget.latency.resizable import learn_sizes
from deploy_prune.budget.latency.table import GroupWidth, NetworkFile
from deploy_prune.exporting.file_bytes import export_bytes
from deploy_prune.graph import trace
from deploy_prune.graph.surgery import cut
from deploy_prune.values import ChannelGraph, Network


def draw(network: Network, graph: ChannelGraph, format_name: str, folder: Path) -> NetworkFile:
    """The network as its latency table has it: learnt from files with random weights."""
    learnt = learn_sizes(network, graph, folder, format_name)
    groups = tuple(GroupWidth(group.name, group.width, group.channels_per_unit) for group in graph.free)
    return NetworkFile(format_name, groups, tuple(map(tuple, learnt.lines.rows.tolist())), learnt.operators)


@pytest.mark.parametrize("format_name", ["tflite", "onnx"])
def test_a_redrawn_file_is_drawn_as_the_converter_draws_the_cut_network(format_name, tmp_path):
    network = mixed()
    graph = trace(network)
    drawing = draw(network, graph, format_name, tmp_path)
    exporter = plugins.load("templates", format_name).exporter
    redraw = open_redrawing(export_bytes(network, exporter), drawing)
    assert redraw
    widths = np.array([max(group.width - 3, 1) for group in graph.free])
    keep = {group.name: tuple(range(width)) for group, width in zip(graph.free, widths.tolist(), strict=True)}
    format_ = plugins.build("templates", format_name)
    ours = format_.read(redraw(widths)).structure
    theirs = format_.read(export_bytes(cut(network, graph, keep), exporter)).structure
    assert ours.wiring == theirs.wiring
    assert np.array_equal(ours.numbers, theirs.numbers)
    other = replace(drawing, operators=drawing.operators[:-1])
    assert open_redrawing(export_bytes(network, exporter), other) is None


def test_what_is_no_file_of_that_format_is_not_redrawn():
    drawing = NetworkFile("onnx", (GroupWidth("a", 4, 1),), ((0, 1),), ())
    assert open_redrawing(b"[4]", drawing) is None
