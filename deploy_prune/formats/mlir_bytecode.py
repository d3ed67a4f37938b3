"""Reads MLIR's bytecode, version 4 and newer: which operations a file holds, and the bytes that dialects keep of each.

Follows mlir/docs/BytecodeFormat.md of LLVM. Attributes, types and properties are bytes here: what they mean is their
dialect's own business (see `aicode`). Every length is checked, and nothing is read twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from deploy_prune.formats.flatbuffer import pick_entry
from deploy_prune.formats.protobuf import Malformed, decode_text

MAGIC = b"ML\xefR"
OLDEST, NEWEST = 4, 6
"""Versions of the format: before 4 the arguments of blocks are written in another way; LLVM 22 has none after 6."""
STRINGS, DIALECTS, ATTRIBUTES, OFFSETS, OPERATIONS, PROPERTIES = 0, 1, 2, 3, 4, 8
"""Numbers of sections; those left out hold blobs and what leads to them."""
ALIGNED, PADDING = 0x80, 0xCB
HAS_ATTRIBUTES, HAS_RESULTS, HAS_OPERANDS, HAS_SUCCESSORS, HAS_REGIONS, HAS_USE_ORDER, HAS_PROPERTIES = (
    1 << bit for bit in range(7)
)
"""Bits of an operation's mask."""
DEEPEST = 32
"""Regions within regions."""


@dataclass(frozen=True)
class Operation:
    """One operation."""

    name: str
    """The dialect and its own name: `aicode.relu_v1`."""
    parent: str
    """The name of the operation in whose region it is; empty: the outermost."""
    results: tuple[int, ...]
    """The types of what it gives, by their places among the file's types."""
    properties: bytes
    """What its dialect wrote of it; empty where there is nothing."""


@dataclass(frozen=True, eq=False)
class Bytecode:
    """A file taken apart."""

    dialects: Mapping[str, bytes]
    """Name -> what the dialect wrote as its version; empty where it has none."""
    strings: tuple[str, ...]
    attributes: tuple[bytes, ...]
    types: tuple[bytes, ...]
    operations: tuple[Operation, ...]
    """In the order of the file; what is in an operation's regions comes after it."""


@dataclass(frozen=True)
class Section:
    """A part of a file, in bytes from its beginning."""

    kind: int
    begin: int
    """Where its head is."""
    start: int
    """Where its content is."""
    end: int
    aligned: bool
    """Whether the content has to begin at a multiple of something."""


class Cursor:
    """A place in some bytes that moves on with everything read. Every method raises Malformed where the bytes end."""

    def __init__(self, content: bytes, start: int = 0, end: int | None = None) -> None:
        self.content = content
        self.at = start
        self.end = len(content) if end is None else end

    @property
    def more(self) -> bool:
        """Whether anything is left."""
        return self.at < self.end

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if count > self.end - self.at:
            raise Malformed(f"ends at byte {self.end}, within {count:,} bytes")
        self.at += count
        return self.content[self.at - count : self.at]

    def byte(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def number(self) -> int:
        """A whole number of one to nine bytes: the zeros below the first one say how many follow."""
        first = self.byte()
        if first == 0:
            return int.from_bytes(self.take(8), "little")
        more = (first & -first).bit_length() - 1
        return (first | int.from_bytes(self.take(more), "little") << 8) >> (more + 1)

    def signed(self) -> int:
        """A whole number that may be negative."""
        number = self.number()
        return (number >> 1) ^ -(number & 1)

    def flagged(self) -> tuple[int, bool]:
        """A whole number, and the flag in its lowest bit."""
        number = self.number()
        return number >> 1, bool(number & 1)

    def numbers(self) -> tuple[int, ...]:
        """Several whole numbers, how many comes first."""
        return tuple(self.number() for _ in range(self.number()))

    def section(self) -> Section:
        """The section that begins here; the cursor is behind it then."""
        begin, kind, length = self.at, self.byte(), self.number()
        aligned = bool(kind & ALIGNED)
        alignment = self.number() if aligned else 1
        while self.at % max(1, alignment):
            if self.byte() != PADDING:
                raise Malformed(f"byte {self.at - 1} is no padding")
        start = self.at
        if length > self.end - start:
            raise Malformed(f"ends at byte {self.end}, within a section of {length:,} bytes")
        self.at = start + length
        return Section(kind & ~ALIGNED, begin, start, self.at, aligned)

    def enter(self, section: Section) -> Cursor:
        """The beginning of a section's content."""
        return Cursor(self.content, section.start, section.end)


def read_bytecode(content: bytes) -> Bytecode:
    """Take a file apart.

    Raises:
        Malformed: truncated, foreign, or of a version that is not known here.
    """
    file = Cursor(content)
    sections = {section.kind: file.enter(section) for section in _list_sections(content)}
    if missing := {STRINGS, DIALECTS, ATTRIBUTES, OFFSETS, OPERATIONS} - sections.keys():
        raise Malformed(f"it has no section {min(missing)}")
    strings = _read_strings(sections[STRINGS])
    dialects, names = _read_dialects(sections[DIALECTS], strings)
    attributes, types = _read_entries(sections[OFFSETS], sections[ATTRIBUTES])
    walk = _Walk(names, _read_properties(sections[PROPERTIES]) if PROPERTIES in sections else ())
    walk.read_block(sections[OPERATIONS], parent="", depth=0)
    return Bytecode(dialects, strings, attributes, types, tuple(walk.operations))


def rename_strings(content: bytes, rename: Callable[[str], str]) -> bytes:
    """The same file with other words in its table of strings.

    Raises:
        Malformed: truncated or foreign, or what stands behind the table may not move.
    """
    sections = list(_list_sections(content))
    table = next((section for section in sections if section.kind == STRINGS), None)
    if table is None or any(section.aligned for section in sections if section.begin >= table.begin):
        raise Malformed("its strings cannot be renamed")
    words = [rename(word).encode() + b"\0" for word in _read_strings(Cursor(content).enter(table))]
    body = b"".join(map(write_number, (len(words), *(len(word) for word in reversed(words))))) + b"".join(words)
    return b"".join((content[: table.begin], bytes([STRINGS]), write_number(len(body)), body, content[table.end :]))


def write_number(number: int) -> bytes:
    """What `Cursor.number` reads; below 2 ** 56."""
    count = max(1, -(-number.bit_length() // 7))
    return (number << count | 1 << (count - 1)).to_bytes(count, "little")


def _list_sections(content: bytes) -> Iterator[Section]:
    cursor = Cursor(content)
    if content[: len(MAGIC)] != MAGIC:
        raise Malformed("it is no bytecode of MLIR")
    cursor.take(len(MAGIC))
    version = cursor.number()
    if not OLDEST <= version <= NEWEST:
        raise Malformed(f"it is bytecode of version {version}, of which {OLDEST} to {NEWEST} are known here")
    while cursor.byte():  # who wrote it
        pass
    while cursor.more:
        yield cursor.section()


def _read_strings(cursor: Cursor) -> tuple[str, ...]:
    """Their lengths, the last one first, and then all of them."""
    lengths = cursor.numbers()
    return tuple(decode_text(cursor.take(length)[:-1]) for length in reversed(lengths))


def _read_dialects(cursor: Cursor, strings: Sequence[str]) -> tuple[Mapping[str, bytes], tuple[str, ...]]:
    """Dialects with their versions, and the names of all operations."""
    versions: dict[str, bytes] = {}
    for _ in range(cursor.number()):
        name, versioned = cursor.flagged()
        inner = cursor.enter(cursor.section()) if versioned else None
        versions[pick_entry(strings, name)] = inner.take(inner.end - inner.at) if inner else b""
    dialects, names = tuple(versions), []
    cursor.number()  # how many names there are
    while cursor.more:
        dialect = pick_entry(dialects, cursor.number())
        names += [f"{dialect}.{pick_entry(strings, cursor.flagged()[0])}" for _ in range(cursor.number())]
    return versions, tuple(names)


def _read_entries(offsets: Cursor, content: Cursor) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """The bytes of all attributes, and of all types; both are listed dialect by dialect."""
    counts = offsets.number(), offsets.number()
    lists: list[list[bytes]] = []
    for count in counts:
        entries: list[bytes] = []
        while len(entries) < count:
            offsets.number()  # the dialect
            entries += [content.take(offsets.flagged()[0]) for _ in range(offsets.number())]
        lists.append(entries)
    attributes, types = lists
    return tuple(attributes), tuple(types)


def _read_properties(cursor: Cursor) -> tuple[bytes, ...]:
    return tuple(cursor.take(cursor.number()) for _ in range(cursor.number()))


class _Walk:
    """Goes through blocks and regions, and lists the operations. Not a value: the list grows."""

    def __init__(self, names: Sequence[str], properties: Sequence[bytes]) -> None:
        self._names = names
        self._properties = properties
        self.operations: list[Operation] = []

    def read_block(self, cursor: Cursor, parent: str, depth: int) -> None:
        """Operations one after the other, behind the block's arguments."""
        if depth > DEEPEST:
            raise Malformed(f"its regions nest more than {DEEPEST} deep")
        count, has_arguments = cursor.flagged()
        if has_arguments:
            arguments = cursor.number()
            for _ in range(arguments):
                _, located = cursor.flagged()
                if located:
                    cursor.number()
            if cursor.byte():
                _skip_use_order(cursor, arguments)
        for _ in range(count):
            self._read_operation(cursor, parent, depth)

    def _read_operation(self, cursor: Cursor, parent: str, depth: int) -> None:
        name, mask = pick_entry(self._names, cursor.number()), cursor.byte()
        cursor.number()  # where it comes from
        if mask & HAS_ATTRIBUTES:
            cursor.number()
        properties = pick_entry(self._properties, cursor.number()) if mask & HAS_PROPERTIES else b""
        results = cursor.numbers() if mask & HAS_RESULTS else ()
        if mask & HAS_OPERANDS:
            cursor.numbers()
        if mask & HAS_SUCCESSORS:
            cursor.numbers()
        if mask & HAS_USE_ORDER:
            _skip_use_order(cursor, len(results))
        self.operations.append(Operation(name, parent, results, properties))
        if mask & HAS_REGIONS:
            count, isolated = cursor.flagged()
            inner = cursor.enter(cursor.section()) if isolated else cursor
            for _ in range(count):
                self._read_region(inner, name, depth + 1)

    def _read_region(self, cursor: Cursor, parent: str, depth: int) -> None:
        blocks = cursor.number()
        if blocks:
            cursor.number()  # how many values it holds
        for _ in range(blocks):
            self.read_block(cursor, parent, depth)


def _skip_use_order(cursor: Cursor, values: int) -> None:
    """In which order the uses of values are kept, of those whose order is not the usual one."""
    for _ in range(1 if values == 1 else cursor.number()):
        if values != 1:
            cursor.number()
        count, _ = cursor.flagged()
        for _ in range(count):
            cursor.number()
