"""Reads flatbuffers field by field, every offset checked: all that .tflite and .pte files need.

The vendors' generated classes trust every offset in a file: a damaged one gives them numbers from anywhere, or a loop
without end.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from deploy_prune.formats.protobuf import Malformed

MOST_READS = 500_000
"""Tables may share what they point to, so that a small damaged file can say that it holds billions of them."""
MOST_COPIES, FREE_BYTES = 8, 1 << 20
"""How many times the bytes of a file may be taken out of it, and how many bytes of any file; vectors may overlap."""
MOST_SIZES = 32
"""Sizes of a tensor."""


class Budget:
    """What may still be read of a file, and of the files within it. Not a value: it shrinks, so that reading ends."""

    def __init__(self, size_bytes: int, *, most_reads: int = MOST_READS) -> None:
        self._reads_left = most_reads
        self._bytes_left = MOST_COPIES * size_bytes + FREE_BYTES

    def spend(self, size_bytes: int) -> None:
        """Count one read of so many bytes.

        Raises:
            Malformed: there have been too many.
        """
        self._reads_left -= 1
        self._bytes_left -= size_bytes
        if self._reads_left < 0 or self._bytes_left < 0:
            raise Malformed("its tables lead around in circles")


class Buffer:
    """The bytes of a file, or of a file within it, and what may still be read of both."""

    def __init__(self, content: bytes, budget: Budget | None = None) -> None:
        self.content = content
        self.budget = budget or Budget(len(content))

    def unpack(self, layout: str, position: int) -> Any:
        """The one number that stands there.

        Raises:
            Malformed: the file ends before, or too much has been read.
        """
        self.budget.spend(0)
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
        self.budget.spend(size_bytes)
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
        size_bytes = struct.calcsize(f"<{item}")
        start, count = self._vector(field, item_bytes=size_bytes)
        self._buffer.budget.spend(count * size_bytes)
        return struct.unpack_from(f"<{count}{item}", self._buffer.content, start)

    def sizes(self, field: int) -> tuple[int, ...]:
        """A tensor's sizes, 32-bit numbers."""
        listed = self.numbers(field, "i")
        if len(listed) > MOST_SIZES:
            raise Malformed(f"a tensor of {len(listed)} dimensions")
        return listed

    def slice(self, start: int, size_bytes: int) -> bytes:
        """Some bytes of the whole file, wherever they are."""
        return self._buffer.slice(start, size_bytes)

    @property
    def budget(self) -> Budget:
        """What may still be read of the file that the table is in."""
        return self._buffer.budget

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


def read_root(content: bytes, identifiers: Sequence[bytes], budget: Budget | None = None) -> Table:
    """The table that a flatbuffer begins with.

    Args:
        content: the file, or a file within another.
        identifiers: what it may begin with.
        budget: what may still be read of the other file; None: what may be of this one.

    Raises:
        Malformed: it bears none of these identifiers.
    """
    if content[4:8] not in identifiers:
        raise Malformed(f"it does not begin as {b' or '.join(identifiers).decode()} does")
    buffer = Buffer(content, budget)
    return Table(buffer, buffer.unpack("<I", 0))


def pick_entry(items: Sequence[Any], index: int) -> Any:
    """The entry that a file points to by its number.

    Raises:
        Malformed: there is none.
    """
    if not 0 <= index < len(items):
        raise Malformed(f"entry {index} of {len(items)}")
    return items[index]
