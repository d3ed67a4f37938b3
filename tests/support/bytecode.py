"""A small file of MLIR's bytecode, made by hand: no package that writes such files is there on every machine."""

from __future__ import annotations

from deploy_prune.formats.mlir_bytecode import (
    HAS_OPERANDS,
    HAS_PROPERTIES,
    HAS_REGIONS,
    HAS_RESULTS,
    HAS_USE_ORDER,
    write_number,
)

WORDS = ("toy", "box", "make", "use", "resource_123")


def numbers(*values: int) -> bytes:
    return b"".join(map(write_number, values))


def section(kind: int, content: bytes, *, at: int = 0, alignment: int = 0) -> bytes:
    """A section; one that is aligned has to know where it begins."""
    if not alignment:
        return bytes([kind]) + write_number(len(content)) + content
    front = bytes([kind | 0x80]) + write_number(len(content)) + write_number(alignment)
    return front + b"\xcb" * (-(at + len(front)) % alignment) + content


def operation(name: int, mask: int, content: bytes = b"") -> bytes:
    return write_number(name) + bytes([mask]) + write_number(0) + content


def strings(*words: str) -> bytes:
    encoded = [word.encode() + b"\0" for word in words]
    return numbers(len(words), *(len(word) for word in reversed(encoded))) + b"".join(encoded)


def file(version: int = 6) -> bytes:
    """`box` with a region in a section of its own: two arguments, a `make` of two results, a `use` of them."""
    made = operation(1, HAS_PROPERTIES | HAS_RESULTS | HAS_USE_ORDER, numbers(0, 2, 0, 1, 1, 0, 2 << 1, 1, 0))
    used = operation(2, HAS_OPERANDS, numbers(2, 2, 3))
    arguments = numbers(2, 0 << 1 | 1, 0, 1 << 1) + b"\0"
    region = numbers(1, 4, 2 << 1 | 1) + arguments + made + used
    box = operation(0, HAS_REGIONS, numbers(1 << 1 | 1) + section(4, region))
    head = b"ML\xefR" + write_number(version) + b"made by hand\0"
    dialects = numbers(1, 0 << 1 | 1) + section(7, b"\x05") + numbers(3, 0, 3, 1 << 1 | 1, 2 << 1 | 1, 3 << 1 | 1)
    offsets = numbers(1, 2, 0, 1, 2 << 1 | 1, 0, 2, 1 << 1 | 1, 3 << 1 | 1)
    parts = section(1, dialects) + section(3, offsets) + section(2, b"aaTyyy") + section(4, numbers(1 << 1) + box)
    blobs = section(5, bytes(20), at=len(head) + len(parts), alignment=16)
    return head + parts + blobs + section(0, strings(*WORDS)) + section(8, numbers(1, 3) + b"\x03\x05\x07")
