"""A method's scores on disk, so that one ranking can be cut at any budget, on any target, without a new search."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from deploy_prune.errors import RecordError, WeightsError
from deploy_prune.sources.weights import read_tensors, save_tensors
from deploy_prune.values import ChannelGraph, Scores

SCORES = "scores.safetensors"
_SCORE, _WEIGHT, _ADDITIVE = "score.", "weight.", "additive"


def save_scores(scores: Scores, path: Path) -> None:
    """Write the scores, and the weights that came with them.

    Raises:
        StorageError: the file system refused.
    """
    tensors = {
        _SCORE + name: torch.from_numpy(np.array(values, np.float64)) for name, values in scores.by_group.items()
    }
    for name, tensor in (scores.weights or {}).items():
        tensors[_WEIGHT + name] = tensor
    if scores.additive:
        tensors[_ADDITIVE] = torch.ones((), dtype=torch.uint8)
    save_tensors(tensors, path)


def recall_scores(path: Path | None, graph: ChannelGraph, score: Callable[[], Scores]) -> Scores:
    """Read the scores that a file keeps, or work them out and keep them there; without a file work them out.

    Raises:
        RecordError: the file is damaged, or of another network.
    """
    if path is None:
        return score()
    if not path.exists():
        scores = score()
        save_scores(scores, path)
        return scores
    return read_scores(path, graph)


def find_scores(path: Path) -> Path:
    """Find the file of the scores that a run folder has, or that a path names.

    Raises:
        RecordError: there are none.
    """
    file = path / SCORES if path.is_dir() else path
    if not file.is_file():
        hint = "a run has scores once its planning stage is done"
        raise RecordError(f"{path} holds no scores", hint=hint)
    return file


def read_scores(path: Path, graph: ChannelGraph) -> Scores:
    """Read the scores that a run (or `save_scores`) wrote, for a network with these groups.

    Args:
        path: a run folder, or a file.
        graph: the graph of the network that is to be cut.

    Raises:
        RecordError: there are no scores, they are damaged, or of another network.
    """
    file = find_scores(path)
    try:
        tensors = read_tensors(file)
    except WeightsError as error:
        raise RecordError(f"{file} is damaged: {error.message}", hint="score again") from error
    by_group = {name.removeprefix(_SCORE): value.numpy() for name, value in tensors.items() if name.startswith(_SCORE)}
    weights = {name.removeprefix(_WEIGHT): value for name, value in tensors.items() if name.startswith(_WEIGHT)}
    widths = {group.name: group.width for group in graph.groups}
    for name, values in by_group.items():
        if widths.get(name) != values.size or not np.isfinite(values).all():
            message = f"{file} scores a group '{name}' of {values.size} units, which this network does not have"
            raise RecordError(message, hint="are these scores of the same network, cut as often?")
    return Scores(by_group, weights or None, additive=_ADDITIVE in tensors)
