"""What a Core ML specification says of itself: its version, and what its author wrote into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploy_prune.mil import wire

VERSION, DESCRIPTION, METADATA, USER_DEFINED = 1, 2, 100, 100
"""Fields of Model, of its description and of that one's metadata."""
TEXTS = {1: "description", 2: "version", 3: "author", 4: "license"}


@dataclass(frozen=True)
class About:
    """The version of the specification, and metadata by their keys."""

    version: int
    metadata: Mapping[str, str]


def about(specification: bytes) -> About:
    """What a specification says.

    Raises:
        Malformed: truncated, or not protobuf.
    """
    model = wire.fields(specification)
    metadata = wire.fields(wire.message(wire.fields(wire.message(model, DESCRIPTION)), METADATA))
    told = {key: wire.text(metadata, number) for number, key in TEXTS.items()}
    user = {key: wire.decoded(value) for key, value in wire.mapping(metadata, USER_DEFINED).items()}
    return About(wire.integer(model, VERSION), {key: text for key, text in told.items() if text} | user)
