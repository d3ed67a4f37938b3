"""Reads protobuf's wire format, field by field: all that a Core ML specification needs, without its generated classes.

Importing Core ML's own classes imports coremltools, and with it torch; besides, a reader that shares no code with the
writer also notices what the writer got wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import TypeVar

import numpy as np

MOST_ENTRIES = 200_000
"""Fields of one message, and numbers of one field: weights are single fields of bytes or floats."""
MOST_SIZES = 32
"""Sizes of a tensor."""
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
VARINT_BYTES = 10
"""The longest number that is not fixed."""
FIXED_BYTES = {FIXED64: 8, FIXED32: 4}

Content = TypeVar("Content", bytes, memoryview)
Field = int | bytes
Fields = Mapping[int, list[Field]]
"""Field number -> what stands there, in order: whole numbers for varints, bytes for all else."""


class Malformed(ValueError):
    """Bytes that are no message."""


def read_fields(message: bytes) -> Fields:
    """The fields of one message, not looked into.

    Raises:
        Malformed: truncated, or not protobuf.
    """
    fields: dict[int, list[Field]] = {}
    for count, (number, value) in enumerate(walk(message)):
        if count >= MOST_ENTRIES:
            raise Malformed(f"a message of more than {MOST_ENTRIES:,} fields")
        fields.setdefault(number, []).append(value)
    return fields


def read_messages(fields: Fields, number: int) -> list[bytes]:
    """The messages (or byte strings) in a field."""
    values = fields.get(number, [])
    if not all(isinstance(value, bytes) for value in values):
        raise Malformed(f"field {number} is a number")
    return [value for value in values if isinstance(value, bytes)]


def read_message(fields: Fields, number: int) -> bytes:
    """The message in a field that is not repeated; an absent one is empty. The last counts, as protobuf says."""
    return (read_messages(fields, number) or [b""])[-1]


def read_text(fields: Fields, number: int) -> str:
    """The string in a field."""
    return decode_text(read_message(fields, number))


def decode_text(content: bytes) -> str:
    """A string's bytes as text."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Malformed("a name is not UTF-8") from error


def read_integer(fields: Fields, number: int) -> int:
    """The whole number in a field; 0 where it is absent, as protobuf leaves zeros out."""
    value = (fields.get(number) or [0])[-1]
    if not isinstance(value, int):
        raise Malformed(f"field {number} is not a number")
    return value


def read_integers(fields: Fields, number: int) -> list[int]:
    """A repeated whole number, packed or not, negative ones in two's complement of 64 bits."""
    values: list[int] = []
    for value in fields.get(number, []):
        if isinstance(value, int):
            values.append(value)
        else:
            position = 0
            while position < len(value):
                each, position = _varint(value, position)
                values.append(each)
                if len(values) > MOST_ENTRIES:
                    raise Malformed(f"field {number} has more than {MOST_ENTRIES:,} numbers")
    return [value - (1 << 64) if value >> 63 else value for value in values]


def read_sizes(fields: Fields, number: int) -> list[int]:
    """The sizes of a tensor, a repeated whole number, none of them negative."""
    entries = sum(1 if isinstance(value, int) else len(value) for value in fields.get(number, []))
    if entries > VARINT_BYTES * MOST_SIZES or len(sizes := read_integers(fields, number)) > MOST_SIZES:
        raise Malformed(f"a tensor of more than {MOST_SIZES} dimensions")
    if min(sizes, default=0) < 0:
        raise Malformed(f"a tensor of the sizes {sizes}")
    return sizes


def read_floats(fields: Fields, number: int, dtype: str) -> np.ndarray:
    """A repeated float or double, packed or not."""
    content = b"".join(read_messages(fields, number))
    if len(content) % np.dtype(dtype).itemsize:
        raise Malformed(f"field {number} holds part of a number")
    return np.frombuffer(content, dtype)


def read_mapping(fields: Fields, number: int) -> dict[str, bytes]:
    """A map from strings to messages."""
    entries = map(read_fields, read_messages(fields, number))
    return {read_text(entry, 1): read_message(entry, 2) for entry in entries}


def walk(content: Content) -> Iterator[tuple[int, int | Content]]:
    """The fields of one message as they come: number and value. Of a view the values are views, and nothing is copied.

    Raises:
        Malformed: truncated, or not protobuf.
    """
    position = 0
    while position < len(content):
        tag, position = _varint(content, position)
        number, kind = tag >> 3, tag & 7
        value: int | Content
        if kind == VARINT:
            value, position = _varint(content, position)
        else:
            if kind == BYTES:
                length, position = _varint(content, position)
            elif kind in FIXED_BYTES:
                length = FIXED_BYTES[kind]
            else:
                raise Malformed(f"wire type {kind} at byte {position}")
            value, position = content[position : position + length], position + length
            if position > len(content):
                raise Malformed(f"ends within field {number}")
        if number == 0:
            raise Malformed(f"field number 0 at byte {position}")
        yield number, value


def _varint(content: bytes | memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(content):
            raise Malformed("ends within a number")
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & ((1 << 64) - 1), position
    raise Malformed(f"an endless number at byte {position}")


def unpack(layout: str, content: bytes, offset: int) -> tuple[int, ...]:
    """Do what `struct.unpack_from` does, for whole numbers.

    Raises:
        Malformed: the content ends before.
    """
    try:
        return struct.unpack_from(layout, content, offset)
    except struct.error as error:
        raise Malformed(f"ends within the header at byte {offset}") from error
