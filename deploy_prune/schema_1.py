"""Records of schema 1, read as those of today: rules that recognise a value by its keys and rename what was renamed.

Records hold values within values, and none of them says its class; but the keys of a value tell it from all others.
So a rule is a set of keys that a value must have, and what to make of it. Every value of the tree is looked at, the
inner ones first. A field that changes its name gets a rule here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any


@dataclass(frozen=True)
class Rule:
    """Makes a value of today of one of schema 1."""

    keys: frozenset[str]
    """The keys that tell such a value from all others."""
    renewed: Callable[[dict[str, Any]], dict[str, Any]]
    """The value of today; it gets a value whose inner values are renewed already."""


def rename(names: Mapping[str, str], **added: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A change that calls some keys by other names and adds what schema 1 took for granted."""

    def renewed(value: dict[str, Any]) -> dict[str, Any]:
        return {names.get(key, key): each for key, each in value.items()} | added

    return renewed


def _move_unit(*names: str, also: tuple[str, ...] = ()) -> Rule:
    """A value whose names ended in their unit, which is a field of its own now."""
    old = [f"{name}_ms" for name in names]
    return Rule(frozenset((*old, *also)), rename(dict(zip(old, names, strict=True)), unit="ms"))


RUNTIMES = {"tflite": "litert", "onnx": "onnxruntime", "coreml": "coreml", "executorch": "executorch"}
"""Format -> the runtime that ran its files, which went without saying in schema 1."""


def name_network_of_file(artifact: dict[str, Any]) -> dict[str, Any]:
    """An exported file that says which network it was made of, and what runs it.

    Schema 1 told by their names which files were formats of one network: equal but for the suffix.
    """
    network = {"address": PurePath(artifact["path"]).with_suffix("").as_posix(), "digest": ""}
    runtime = RUNTIMES.get(artifact["format"], artifact["format"])
    return {**artifact, "network": network, "runtime": runtime}


def _make_quality(accuracy: dict[str, Any]) -> dict[str, Any]:
    """A quality, which schema 1 knew as an accuracy: top-1 on some images, with a hit or a miss for each."""
    return {
        "name": "top-1",
        "value": accuracy["top1"],
        "interval": accuracy["interval"],
        "items": accuracy["images"],
        "loss": accuracy["loss"],
        "per_item": [float(hit) for hit in accuracy["hits"]],
    }


RULES: tuple[Rule, ...] = (
    _move_unit("before", "candidate", "after"),  # Bracket
    _move_unit("reference", also=("ratio", "interval", "brackets", "repeated")),  # Comparison
    _move_unit("blocks", "median", "interval", "p90"),  # Measurement
    _move_unit("aim", "predicted", "measured", "interval"),  # Attempt
    _move_unit("limit", "reference", also=("target", "attempts", "chosen")),  # Closing
    _move_unit("reference", also=("network", "address", "target", "drawing")),  # Profile
    Rule(frozenset({"path", "format", "sha256", "input_shape", "exporter"}), name_network_of_file),  # Artifact
    Rule(frozenset({"top1", "interval", "images", "loss", "hits"}), _make_quality),
    Rule(
        frozenset({"kind", "top1", "top1_interval", "val_top1"}),
        rename({"top1": "test", "top1_interval": "test_interval", "val_top1": "val"}),
    ),
    Rule(frozenset({"model", "data", "method", "points"}), rename({}, quality="top-1")),
    Rule(frozenset({"allowed_points", "dense_val", "tries"}), rename({}, quality="top-1")),
    Rule(frozenset({"number", "origin", "parent", "top1", "widths"}), rename({"top1": "value"})),
)


def upgrade(value: Any, rules: tuple[Rule, ...] = RULES) -> Any:
    """The same JSON value in the words of today.

    Args:
        value: anything that JSON knows; it is not changed.
        rules: what is recognised; of several rules for a value the first is applied.
    """
    if isinstance(value, list):
        return [upgrade(each, rules) for each in value]
    if not isinstance(value, dict):
        return value
    inner = {key: upgrade(each, rules) for key, each in value.items()}
    return next((rule.renewed(inner) for rule in rules if rule.keys <= inner.keys()), inner)
