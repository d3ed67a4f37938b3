"""Reads flatbuffers field by field, every offset checked: all that .tflite and .pte files need.

The vendors' generated classes trust every offset in a file: a damaged one gives them numbers from anywhere, or a loop
without end.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from deploy_prune.formats.protobuf import Malformed

MOST_READS = 20_000_000
"""Tables may share what they point to, so that a small damaged file can say that it holds billions of them."""


class Buffer:
    """The bytes of a file. Not a value: it counts what is read, so that reading ends."""

    def __init__(self, content: bytes, *, most_reads: int = MOST_READS) -> None:
        self.content = content
        self._reads_left = most_reads

    def unpack(self, layout: str, position: int) -> Any:
        """The one number that stands there.

        Raises:
            Malformed: the file ends before, or too much has been read.
        """
        self._reads_left -= 1
        if self._reads_left < 0:
            raise Malformed("its tables lead around in circles")
        if position < 0 or position + struct.calcsize(layout) > len(self.content):
            raise Malformed(f"an offset leads to byte {position} of {len(self.content)}")
        return struct.unpack_from(layout, self.content, position)[0]

    def slice(self, start: int, size_bytes: int) -> bytes:
        """Some bytes.

        Raises:
            Malformed: the file ends before.
        """
        if start < 0 or start + size_bytes > len(self.content):
            raise Malformed(f"{size_bytes} bytes from byte {start} on, where {len(self.content)} are all")
        return self.content[start : start + size_bytes]


class Table:
    """One table; fields are numbered as in the schema, from 0. Each method raises Malformed."""

    def __init__(self, buffer: Buffer, position: int) -> None:
        self._buffer = buffer
        self._position = position
        self._slots = position - buffer.unpack("<i", position)
        self._slots_bytes = buffer.unpack("<H", self._slots)

    def number(self, field: int, layout: str, default: int = 0) -> int:
        """A number in `struct`'s layout; the default where the field is absent."""
        place = self._place(field)
        return default if place is None else int(self._buffer.unpack(layout, place))

    def double(self, field: int) -> float:
        """A 64-bit floating-point number; 0 where the field is absent."""
        place = self._place(field)
        return 0.0 if place is None else float(self._buffer.unpack("<d", place))

    def table(self, field: int) -> Table | None:
        """A table, or None where the field is absent."""
        place = self._place(field)
        return None if place is None else Table(self._buffer, place + self._buffer.unpack("<I", place))

    def union(self, field: int) -> tuple[int, Table | None]:
        """Number of the type in a union, and the table; the type is the field before."""
        return self.number(field - 1, "<B"), self.table(field)

    def tables(self, field: int) -> tuple[Table, ...]:
        """A vector of tables."""
        start, count = self._vector(field, item_bytes=4)
        places = range(start, start + 4 * count, 4)
        return tuple(Table(self._buffer, place + self._buffer.unpack("<I", place)) for place in places)

    def numbers(self, field: int, item: str) -> tuple[int, ...]:
        """A vector of numbers; `item` is `struct`'s letter."""
        start, count = self._vector(field, item_bytes=struct.calcsize(f"<{item}"))
        return struct.unpack_from(f"<{count}{item}", self._buffer.content, start)

    def data(self, field: int) -> bytes:
        """A vector of bytes."""
        return self._buffer.slice(*self._vector(field, item_bytes=1))

    def text(self, field: int) -> str:
        """A string; empty where the field is absent."""
        try:
            return self.data(field).decode()
        except UnicodeDecodeError as error:
            raise Malformed("a name is not UTF-8") from error

    def _place(self, field: int) -> int | None:
        slot = 4 + 2 * field
        offset = self._buffer.unpack("<H", self._slots + slot) if slot + 2 <= self._slots_bytes else 0
        return self._position + offset if offset else None

    def _vector(self, field: int, *, item_bytes: int) -> tuple[int, int]:
        place = self._place(field)
        if place is None:
            return 0, 0
        start = place + self._buffer.unpack("<I", place)
        count = self._buffer.unpack("<I", start)
        if start + 4 + count * item_bytes > len(self._buffer.content):
            raise Malformed(f"a list of {count} entries at byte {start} ends after the file")
        return start + 4, count


def read_root(content: bytes, identifiers: Sequence[bytes], *, most_reads: int = MOST_READS) -> Table:
    """The table that a flatbuffer begins with; after `most_reads` numbers of it, reading is refused.

    Raises:
        Malformed: it bears none of these identifiers.
    """
    if content[4:8] not in identifiers:
        raise Malformed(f"it does not begin as {b' or '.join(identifiers).decode()} does")
    buffer = Buffer(content, most_reads=most_reads)
    return Table(buffer, buffer.unpack("<I", 0))


def pick_entry(items: Sequence[Any], index: int) -> Any:
    """The entry that a file points to by its number.

    Raises:
        Malformed: there is none.
    """
    if not 0 <= index < len(items):
        raise Malformed(f"entry {index} of {len(items)}")
    return items[index]
