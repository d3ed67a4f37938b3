"""MLIR's bytecode, read from a file made by hand from the description of the format."""

from __future__ import annotations

import pytest
from bytecode import WORDS, file, operation, section

from deploy_prune.formats.mlir_bytecode import (
    HAS_OPERANDS,
    Cursor,
    Operation,
    read_bytecode,
    rename_strings,
    write_number,
)
from deploy_prune.formats.protobuf import Malformed


def test_the_operations_of_a_file_are_listed_with_where_they_are_and_what_they_give() -> None:
    content = read_bytecode(file())
    assert content.operations == (
        Operation("toy.box", "", (), b""),
        Operation("toy.make", "toy.box", (0, 1), b"\x03\x05\x07"),
        Operation("toy.use", "toy.box", (), b""),
    )
    assert (content.dialects, content.strings) == ({"toy": b"\x05"}, WORDS)
    assert (content.attributes, content.types) == ((b"aa",), (b"T", b"yyy"))


@pytest.mark.parametrize(
    ("number", "written"),
    [(0, "01"), (127, "ff"), (128, "0202"), (16383, "feff"), (16384, "040002"), ((1 << 28) - 1, "f8ffffff")],
)
def test_numbers_are_as_long_as_they_must_be(number: int, written: str) -> None:
    assert write_number(number).hex() == written
    assert Cursor(write_number(number)).number() == number


def test_a_number_of_64_bits_and_negative_ones_are_read() -> None:
    assert Cursor(b"\0" + (1 << 63).to_bytes(8, "little")).number() == 1 << 63
    assert [Cursor(write_number(number)).signed() for number in (0, 1, 2, 3)] == [0, -1, 1, -2]


def test_other_words_leave_all_else_as_it_is() -> None:
    assert rename_strings(file(), lambda word: word) == file()
    renamed = rename_strings(file(), lambda word: word.replace("_123", ""))
    assert len(renamed) == len(file()) - len("_123")
    before, after = read_bytecode(file()), read_bytecode(renamed)
    assert after.strings == (*WORDS[:-1], "resource")
    assert (after.operations, after.types) == (before.operations, before.types)


def test_what_keeps_to_its_place_behind_the_words_is_not_moved() -> None:
    with pytest.raises(Malformed, match="cannot be renamed"):
        rename_strings(file() + section(6, bytes(16), at=len(file()), alignment=16), str.upper)


def test_a_truncated_file_is_refused_wherever_it_ends() -> None:
    for end in range(len(file())):
        with pytest.raises(Malformed):
            read_bytecode(file()[:end])


@pytest.mark.parametrize("version", [3, 7])
def test_a_version_that_is_not_known_is_told(version: int) -> None:
    with pytest.raises(Malformed, match=f"version {version}"):
        read_bytecode(file(version))


def test_a_number_that_leads_out_of_its_table_is_refused() -> None:
    changed = file().replace(operation(2, HAS_OPERANDS), operation(9, HAS_OPERANDS))
    assert changed != file()
    with pytest.raises(Malformed, match="entry 9 of 3"):
        read_bytecode(changed)
