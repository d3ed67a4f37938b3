"""JSON and TOML of anybody, read within bounds: how long, how deep, and which numbers.

Python's own readers take any of them: nesting ends in a RecursionError, a key of ten thousand parts takes a minute, NaN
and numbers that no tensor can hold are met much later. Everything here raises ValueError, as Python's readers do.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MOST_BYTES = 32 << 20
"""The largest text that is read; a record of 50,000 images has one or two MB."""
MOST_TOML_BYTES = 256 << 10
DEEPEST = 64
"""Lists and tables within one another; ours are ten deep."""
MOST_PARTS = 32
"""Parts of a dotted key."""
LARGEST = 2**63 - 1
"""Whole numbers are no larger, nor smaller than their negatives less one: those of tensors and of SQLite."""
NUL = "a text has the character NUL, which no name can have"
LARGEST_STATE = 2**128 - 1
"""Records also hold the states of numpy's generators."""

_JSON_TOKENS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_TOML_TEXTS = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*(?:"""|\\?\Z)'
    r"|'''(?:[^']|'(?!''))*(?:'''|\Z)"
    r'|"(?:[^"\\\n]|\\[^\n])*(?:"|\\?(?=\n|\Z))'
    r"|'[^'\n]*(?:'|(?=\n|\Z))"
    r"|\#[^\n]*",
    re.DOTALL,
)
"""Strings and comments; one that does not end takes all that is left, so that nothing is looked at twice."""


def read_text(path: Path, *, most_bytes: int = MOST_BYTES) -> str:
    """Read a file as UTF-8.

    Raises:
        ValueError: it is larger, or no UTF-8.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"it is larger than {most_bytes >> 10:,} kB")
    return content.decode()


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is none, nests too deep, or holds NaN, infinity or a whole number of more than 128 bits.
    """
    _refuse_depth(match[0] for match in _JSON_TOKENS.finditer(text))
    return json.loads(text, parse_constant=_refuse_constant, parse_int=_read_whole, parse_float=_read_finite)


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        ValueError: it is none, is too long, nests too deep, has a key of too many parts, or holds NaN, infinity, a
            whole number of more than 64 bits or a text with NUL.
    """
    if len(text) > MOST_TOML_BYTES:
        raise ValueError(f"it is longer than {MOST_TOML_BYTES >> 10} kB")
    bare = _TOML_TEXTS.sub(lambda match: "" if match[0].startswith("#") else "x", text)
    _refuse_depth(re.findall(r"[\[\]{}]", bare))
    if any(part.count(".") >= MOST_PARTS for part in re.split(r"[=,{}\[\]\n]", bare)):
        raise ValueError(f"a key has more than {MOST_PARTS} parts")
    values = tomllib.loads(text)
    refuse_wild_values(values)
    return values


def refuse_wild_values(value: Any) -> None:
    """Refuse NaN, infinity, whole numbers of more than 64 bits and NUL in texts, wherever in lists and tables.

    Raises:
        ValueError: names what it is.
    """
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += [*each, *each.values()]
        elif isinstance(each, (list, tuple)):
            waiting += each
        elif isinstance(each, str) and "\0" in each:
            raise ValueError(NUL)
        elif isinstance(each, float) and not math.isfinite(each):
            _refuse_constant(str(each))
        elif isinstance(each, int) and not -LARGEST - 1 <= each <= LARGEST:
            raise ValueError(f"a whole number of {each.bit_length()} bits, at most 64 can be")


def _refuse_depth(parts: Iterable[str]) -> None:
    depth = 0
    for part in parts:
        depth += (part in "[{") - (part in "]}")
        if depth > DEEPEST:
            raise ValueError(f"it nests more than {DEEPEST} deep")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"a number is {name}, which none can be")


def _read_whole(text: str) -> int:
    if len(text) > len(str(LARGEST_STATE)) or int(text) > LARGEST_STATE:
        raise ValueError(f"a whole number of {len(text)} digits, at most 128 bits can be")
    return int(text)


def _read_finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse_constant(text[:20])
