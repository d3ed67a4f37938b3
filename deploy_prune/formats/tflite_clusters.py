"""Finds the parts of a .tflite file that XNNPACK computes channels first, and with sparse weights if enough are 0.

Such a part begins at a 3x3 convolution of stride 2 that reads an image of 3 channels, ends at means over height and
width, and has nothing in it that XNNPACK cannot compute so; else it is computed as if nothing were 0, or wrongly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from deploy_prune.errors import ExportFailed
from deploy_prune.formats.tflite_graph import read_bytes, view_graph
from deploy_prune.formats.tflite_sparse_rules import Looked, Role, judge

SHARE = Fraction(2, 3)
"""More than this share of the weights of a part's 1x1 convolutions has to be 0 (XNNPACK, src/subgraph.c)."""
HINT = "XNNPACK would compute it as if nothing were 0, or wrongly: change that in the network, or leave --sparse out"
DENSE_HINT = "mask more kernels (`dkp`, a smaller `rate`), or leave --sparse out"

Roles = Mapping[Any, Role]
"""Operator -> what it does, in the file's order."""


@dataclass(frozen=True, eq=False)
class Cluster:
    """Operators that XNNPACK computes channels first, all together."""

    pointwise: tuple[Any, ...]
    """The 1x1 convolutions."""
    entrances: int
    """How many convolutions take an image channels last and give it channels first (NHWC to CHW)."""
    exits: int
    """How many means give what is read channels last (CHW to NHWC)."""
    weights: int
    """How many weights the 1x1 convolutions have."""
    zeros: int
    """How many of them are 0."""


def find_clusters(model: Any, schema: Any) -> tuple[Cluster, ...]:
    """The parts of a model of the generated classes whose zeros XNNPACK skips; at least one.

    Raises:
        ExportFailed: an operator breaks XNNPACK's rules, and which; or too few weights are 0.
    """
    looked = Looked(view_graph(model), schema)
    roles = _find_members(looked)
    if not roles:
        raise _refuse_start(looked)
    _check_readers(looked, roles)
    parts = [part for part in _connect(looked, roles) if Role.POINTWISE in part.values()]
    if not parts:
        raise ExportFailed("it has no 1x1 convolution whose zeros XNNPACK could skip", hint=HINT)
    return tuple(_weigh(looked, part) for part in parts)


def _find_members(looked: Looked) -> Roles:
    """Every operator that is reached from an entrance before a mean has been taken."""
    roles: dict[Any, Role] = {}
    for operator in looked.graph.operators:
        if looked.is_part(operator):
            continue
        images, verdict = looked.images(operator), judge(looked, operator)
        makers = [maker for image in images if (maker := looked.graph.makers.get(image)) in roles]
        if verdict.role is Role.ENTRANCE and not makers:
            roles[operator] = Role.ENTRANCE
        elif makers and (verdict.role is None or verdict.role is Role.ENTRANCE):
            if not all(roles[maker] is Role.MEAN for maker in makers):
                reason = verdict.reason or "a convolution of this kind can only stand at the beginning"
                raise _refuse(looked, operator, reason)
        elif makers and verdict.role:
            if len(makers) < len(images):
                raise _refuse(looked, operator, "something else that it reads is not computed channels first")
            roles[operator] = verdict.role
    return roles


def _refuse(looked: Looked, operator: Any, reason: str) -> ExportFailed:
    return ExportFailed(f"{looked.label(operator)} cannot be part of sparse inference: {reason}", hint=HINT)


def _refuse_start(looked: Looked) -> ExportFailed:
    """Why no convolution turns the image: the first one's reason."""
    convolutions = [operator for operator in looked.graph.operators if looked.name(operator) == "CONV_2D"]
    if not convolutions:
        return ExportFailed("it has no convolution whose zeros XNNPACK could skip", hint=HINT)
    reason = judge(looked, convolutions[0]).reason
    told = "a 3x3 convolution of stride 2 that reads 3 channels has to come first"
    return _refuse(looked, convolutions[0], f"{reason}; {told}" if reason else told)


def _check_readers(looked: Looked, roles: Roles) -> None:
    """Refuse images that are read channels first and channels last, or given to the app channels first."""
    for operator, role in roles.items():
        for tensor in map(int, operator.outputs):
            readers = [_read_through(looked, reader) for reader in looked.graph.readers[tensor]]
            outside = [reader for reader in readers if reader not in roles]
            if role is Role.MEAN and len(outside) == len(readers):
                _check_after_mean(looked, tensor, outside)
                continue
            if tensor in looked.graph.outputs:
                raise _refuse(looked, operator, "what it gives is an output of the network, which is channels last")
            if outside:
                raise _refuse(looked, outside[0], "what it reads is read channels first as well")


def _check_after_mean(looked: Looked, tensor: int, readers: Sequence[Any]) -> None:
    """Refuse what newer versions of XNNPACK may take for a part of the images before the mean."""
    flattening = [looked.name(reader) == "RESHAPE" for reader in readers]
    if len(looked.graph.shape(tensor)) == 4 and not all(flattening):
        raise _refuse(looked, readers[flattening.index(False)], "it reads a mean that has not been flattened")


def _read_through(looked: Looked, reader: Any) -> Any:
    """The convolution that an operator PAD becomes part of, or the operator itself."""
    return looked.graph.readers[int(reader.outputs[0])][0] if looked.is_part(reader) else reader


def _connect(looked: Looked, roles: Roles) -> Sequence[Roles]:
    """The operators by part: those that read from each other are in one."""
    parts: list[dict[Any, Role]] = []
    for operator, role in roles.items():
        makers = {looked.graph.makers.get(image) for image in looked.images(operator)}
        joined = {operator: role}
        for part in [part for part in parts if makers & part.keys()]:
            parts.remove(part)
            joined = {**part, **joined}
        parts.append(joined)
    return parts


def _weigh(looked: Looked, part: Roles) -> Cluster:
    """Count the zeros of a part as XNNPACK does."""
    pointwise = tuple(operator for operator, role in part.items() if role is Role.POINTWISE)
    counts = {operator: _count(looked, operator) for operator in pointwise}
    weights, zeros = (sum(each) for each in zip(*counts.values(), strict=True))
    if zeros <= SHARE * weights:
        raise _refuse_share(looked, counts)
    entrances = sum(role is Role.ENTRANCE for role in part.values())
    exits = sum(
        role is Role.MEAN and not any(reader in part for reader in looked.graph.readers[int(operator.outputs[0])])
        for operator, role in part.items()
    )
    return Cluster(pointwise, entrances, exits, weights, zeros)


def _refuse_share(looked: Looked, counts: Mapping[Any, tuple[int, int]]) -> ExportFailed:
    """Too few zeros, and the convolution with most weights that are none."""
    weights, zeros = (sum(each) for each in zip(*counts.values(), strict=True))
    left = {operator: size - none for operator, (size, none) in counts.items()}
    fullest = max(left, key=lambda operator: left[operator])
    told = f"{zeros / weights:.1%} of the {weights:,} weights of 1x1 convolutions are 0"
    most = f"most of those that are not, {left[fullest]:,}, are in {looked.label(fullest)}"
    return ExportFailed(f"{told}, and XNNPACK asks for more than {float(SHARE):.1%}; {most}", hint=DENSE_HINT)


def _count(looked: Looked, operator: Any) -> tuple[int, int]:
    """Weights of an operator, and how many of them are 0."""
    data = read_bytes(looked.graph.model, int(operator.inputs[1]))
    if data is None:
        raise _refuse(looked, operator, "its weights are not constant")
    if looked.graph.model.subgraphs[0].tensors[int(operator.inputs[1])].type != looked.schema.TensorType.FLOAT32:
        raise _refuse(looked, operator, "its weights are not fp32")
    numbers = np.frombuffer(data, np.float32)
    return numbers.size, int((numbers == 0).sum())
