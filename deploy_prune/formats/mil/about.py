"""What a Core ML specification says of itself: its version, and what its author wrote into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploy_prune.formats import protobuf

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
    model = protobuf.fields(specification)
    metadata = protobuf.fields(protobuf.message(protobuf.fields(protobuf.message(model, DESCRIPTION)), METADATA))
    told = {key: protobuf.text(metadata, number) for number, key in TEXTS.items()}
    user = {key: protobuf.decoded(value) for key, value in protobuf.mapping(metadata, USER_DEFINED).items()}
    return About(protobuf.integer(model, VERSION), {key: text for key, text in told.items() if text} | user)
