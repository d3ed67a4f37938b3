"""The head of a .pte file: how long its program is, and where the segments behind it begin."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from deploy_prune.errors import InputError

HEAD = struct.Struct("<4x4s4sIQQQ")
"""File identifier, magic and length of the header; sizes of program, of what precedes the segments, of the segments."""
IDENTIFIER, HEADER = b"ET12", b"eh00"
LENGTH_WITH_SEGMENTS = 32
"""Headers of older exporters are shorter and do not tell how large the segments are."""


@dataclass(frozen=True)
class PteHeader:
    """Places in the file, in bytes from its beginning."""

    program_bytes: int
    segments_at: int


def check_head(path: Path) -> PteHeader:
    """Refuse what is no whole .pte file before anything else reads it.

    Raises:
        InputError: missing, foreign or truncated.
    """
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEAD.size)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", hint="check the path and who may read it") from error
    foreign = InputError(f"{path} is not a .pte file", hint="export it again, or check the path")
    if len(head) < HEAD.size:
        raise foreign
    identifier, header, length, program_bytes, segments_at, segments_bytes = HEAD.unpack(head)
    if identifier != IDENTIFIER:
        raise foreign
    if header != HEADER:  # a program without segments has none, and does not tell its size
        return PteHeader(program_bytes=size_bytes, segments_at=size_bytes)
    wanted = max(program_bytes, segments_at + segments_bytes if length >= LENGTH_WITH_SEGMENTS else 0)
    if size_bytes < wanted:
        raise InputError(f"{path} is truncated: {size_bytes} of {wanted} bytes", hint="export it again")
    return PteHeader(program_bytes, segments_at)
