"""A network's real file at other widths, without its converter: redrawn as the skeletons of its latency table were."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from deploy_prune import plugins
from deploy_prune.budget.latency.size_lines import SizeLines
from deploy_prune.budget.latency.table import NetworkFile
from deploy_prune.budget.widths import dense_widths
from deploy_prune.errors import InputError
from deploy_prune.formats.templates import TEMPLATES, Operator

Redraw = Callable[[np.ndarray], bytes]
"""Widths, in units and in the order of the drawing's groups -> the content of the file."""


def open_redrawing(dense: bytes, drawing: NetworkFile) -> Redraw | None:
    """What redraws an exported dense network, where its sizes are those that its table followed.

    Args:
        dense: the content of its file, with any weights.
        drawing: the same network in its latency table.

    Returns:
        None where the file is drawn otherwise, as with a converter that looks at weights or has changed since.
    """
    format_ = plugins.build(TEMPLATES, drawing.format)
    lines = SizeLines(np.array(drawing.lines, dtype=np.int64))
    try:
        template = format_.read(dense)
    except InputError:
        return None
    structure = template.structure
    sizes = lines.at(dense_widths(drawing.groups))
    if not np.array_equal(structure.numbers, sizes) or _shape(structure.operators) != _shape(drawing.operators):
        return None
    return lambda widths: template.resized(lines.at(widths))


def _shape(operators: Sequence[Operator]) -> list[Operator]:
    """The operators but for what the file happens to call them."""
    return [replace(each, label="") for each in operators]
