"""The folder of a Core AI file: its program, the program's checksum, and what is said of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy_prune.bounded import parse_json, read_text
from deploy_prune.errors import InputError

PROGRAM, CHECKSUM, METADATA = "main.mlirb", "main.hash", "metadata.json"
"""The files in the folder."""
VERSION, OWN = "assetVersion", "creatorDefinedMetadata"
"""Keys of what is said: the version of the format, and what whoever wrote the file added."""


@dataclass(frozen=True, eq=False)
class Asset:
    """What a folder holds."""

    program: bytes
    metadata: Mapping[str, Any]

    @property
    def own(self) -> Mapping[str, Any]:
        """What whoever wrote it added to the metadata."""
        own = self.metadata.get(OWN)
        return own if isinstance(own, dict) else {}


def read_asset(path: Path) -> Asset:
    """Read a folder whose program is the one that was written.

    Raises:
        InputError: missing, foreign, truncated, or changed since.
    """
    if not path.is_dir():
        raise InputError(f"{path} is not a folder", hint="a file of Core AI is a folder: check the path")
    try:
        program, checksum = (path / PROGRAM).read_bytes(), (path / CHECKSUM).read_bytes()
        metadata = parse_json(read_text(path / METADATA))
    except OSError as error:
        raise InputError(f"{path} is damaged: {error.filename}: {error.strerror}", hint="export it again") from error
    except ValueError as error:
        raise InputError(f"{path} is damaged: {METADATA}: {error}", hint="export it again") from error
    if not isinstance(metadata, dict) or not isinstance(metadata.get(VERSION), str):
        raise InputError(f"{path} is damaged: {METADATA} says no {VERSION}", hint="export it again")
    if hash_program(program) != checksum:
        raise InputError(f"{path} is damaged: {PROGRAM} is not what {CHECKSUM} was made of", hint="export it again")
    return Asset(program, metadata)


def hash_program(program: bytes) -> bytes:
    """The checksum that belongs beside a program."""
    return hashlib.sha256(program).digest()
