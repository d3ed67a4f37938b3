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


def decode_about(specification: bytes) -> About:
    """Decode what a specification says of itself.

    Raises:
        Malformed: truncated, or not protobuf.
    """
    model = protobuf.read_fields(specification)
    metadata = protobuf.read_fields(
        protobuf.read_message(protobuf.read_fields(protobuf.read_message(model, DESCRIPTION)), METADATA)
    )
    texts = {key: protobuf.read_text(metadata, number) for number, key in TEXTS.items()}
    user = {key: protobuf.decode_text(value) for key, value in protobuf.read_mapping(metadata, USER_DEFINED).items()}
    return About(protobuf.read_integer(model, VERSION), {key: text for key, text in texts.items() if text} | user)
