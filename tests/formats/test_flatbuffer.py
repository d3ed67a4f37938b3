"""Flatbuffers as the vendors' own library writes them, and what no flatbuffer is."""

from __future__ import annotations

from collections.abc import Callable, Sized

import flatbuffers
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_prune.formats import flatbuffer
from deploy_prune.formats.protobuf import Malformed


def written() -> bytes:
    """Fields: 0 an int of -7, 1 absent, 2 a text, 3 ints 1 2 3, 4 two tables (the same one twice), 5 a double."""
    builder = flatbuffers.Builder()
    text, numbers = builder.CreateString("name"), builder.CreateNumpyVector(np.arange(1, 4, dtype=np.int32))
    builder.StartObject(1)
    builder.PrependInt16Slot(0, 5, 0)
    child = builder.EndObject()
    builder.StartVector(4, 2, 4)
    builder.PrependUOffsetTRelative(child)
    builder.PrependUOffsetTRelative(child)
    children = builder.EndVector()
    builder.StartObject(6)
    builder.PrependInt32Slot(0, -7, 0)
    builder.PrependUOffsetTRelativeSlot(2, text, 0)
    builder.PrependUOffsetTRelativeSlot(3, numbers, 0)
    builder.PrependUOffsetTRelativeSlot(4, children, 0)
    builder.PrependFloat64Slot(5, 0.5, 0.0)
    builder.Finish(builder.EndObject(), file_identifier=b"TEST")
    return bytes(builder.Output())


WRITTEN = written()


def everything(table: flatbuffer.Table) -> tuple[object, ...]:
    children = [child.number(0, "<h") for child in table.tables(4)]
    texts = (table.text(2), table.numbers(3, "i"), children, table.double(5))
    return (table.number(0, "<i"), table.number(1, "<i", 3), *texts)


def test_every_kind_of_field_is_read_and_an_absent_one_has_its_default() -> None:
    assert everything(flatbuffer.read_root(WRITTEN, [b"TEST"])) == (-7, 3, "name", (1, 2, 3), [5, 5], 0.5)


def test_fields_that_a_newer_schema_added_are_absent() -> None:
    table = flatbuffer.read_root(WRITTEN, [b"TEST"])
    assert (table.number(40, "<i"), table.table(40), table.tables(40), table.text(40)) == (0, None, (), "")


def test_another_identifier_is_refused() -> None:
    with pytest.raises(Malformed, match="does not begin as ABCD or EFGH does"):
        flatbuffer.read_root(WRITTEN, [b"ABCD", b"EFGH"])


@given(st.data())
def test_changed_bytes_are_read_or_refused(data: st.DataObject) -> None:
    content = bytearray(WRITTEN)
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(8, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(8, len(content)))]
    try:
        everything(flatbuffer.read_root(bytes(content), [b"TEST"]))
    except Malformed:
        return


def test_tables_that_share_what_they_hold_do_not_keep_it_reading_forever() -> None:
    with pytest.raises(Malformed, match="in circles"):
        everything(flatbuffer.read_root(WRITTEN, [b"TEST"], flatbuffer.Budget(len(WRITTEN), most_reads=10)))


@pytest.mark.parametrize("index", [-1, 2])
def test_an_entry_that_is_not_there_is_refused(index: int) -> None:
    with pytest.raises(Malformed, match=f"entry {index} of 2"):
        flatbuffer.pick_entry("ab", index)


def many_of_one(count: int, size_bytes: int) -> bytes:
    """Field 0 is a list of that many tables, all of which are one and the same with a vector of so many bytes."""
    builder = flatbuffers.Builder()
    shared = builder.CreateByteVector(bytes(size_bytes))
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, shared, 0)
    child = builder.EndObject()
    builder.StartVector(4, count, 4)
    for _ in range(count):
        builder.PrependUOffsetTRelative(child)
    children = builder.EndVector()
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, children, 0)
    builder.Finish(builder.EndObject(), file_identifier=b"TEST")
    return bytes(builder.Output())


@pytest.mark.parametrize("take", [flatbuffer.Table.data, lambda table, field: table.numbers(field, "b")])
def test_vectors_that_are_shared_are_not_copied_without_end(take: Callable[[flatbuffer.Table, int], Sized]) -> None:
    """A file of 60 kB would be 40 MB in memory, and one of 6 MB would be 400 GB."""
    taken = []

    def take_all() -> None:
        for table in flatbuffer.read_root(many_of_one(1_000, 60_000), [b"TEST"]).tables(0):
            taken.append(len(take(table, 0)))  # noqa: PERF401 (what was taken counts where it ends)

    with pytest.raises(Malformed, match="in circles"):
        take_all()
    assert 8 <= len(taken) < 40


def test_a_file_within_a_file_is_paid_for_by_the_same_budget() -> None:
    budget = flatbuffer.Budget(len(WRITTEN), most_reads=60)
    everything(flatbuffer.read_root(WRITTEN, [b"TEST"], budget))
    with pytest.raises(Malformed, match="in circles"):
        [everything(flatbuffer.read_root(WRITTEN, [b"TEST"], budget)) for _ in range(10)]


def test_a_tensor_has_few_sizes() -> None:
    builder = flatbuffers.Builder()
    sizes = builder.CreateNumpyVector(np.ones(33, np.int32))
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, sizes, 0)
    builder.Finish(builder.EndObject(), file_identifier=b"TEST")
    with pytest.raises(Malformed, match="33 dimensions"):
        flatbuffer.read_root(bytes(builder.Output()), [b"TEST"]).sizes(0)
