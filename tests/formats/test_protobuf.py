from __future__ import annotations

import pytest

from deploy_prune.formats import protobuf

# protobuf's own examples: field 1 = 150; field 2 = "testing"; field 6 packed = 3, 270, 86942
EXAMPLE = bytes.fromhex("089601") + bytes.fromhex("120774657374696e67") + bytes.fromhex("3206038e029ea705")


def test_the_examples_of_protobufs_own_description():
    found = protobuf.read_fields(EXAMPLE)
    assert (protobuf.read_integer(found, 1), protobuf.read_text(found, 2), protobuf.read_integers(found, 6)) == (
        150,
        "testing",
        [3, 270, 86942],
    )


def test_absent_fields_are_empty():
    found = protobuf.read_fields(b"")
    assert (protobuf.read_integer(found, 1), protobuf.read_text(found, 2), protobuf.read_integers(found, 3)) == (
        0,
        "",
        [],
    )


def test_negative_numbers_and_floats():
    minus_one = bytes.fromhex("08ffffffffffffffffff01")
    assert protobuf.read_integers(protobuf.read_fields(minus_one), 1) == [-1]
    packed, single = bytes.fromhex("0a080000803f000000c0"), bytes.fromhex("0d0000803f")
    assert protobuf.read_floats(protobuf.read_fields(packed), 1, "<f4").tolist() == [1.0, -2.0]
    assert protobuf.read_floats(protobuf.read_fields(single), 1, "<f4").tolist() == [1.0]


def test_maps_have_entries_of_key_and_value():
    entry = bytes.fromhex("0a0161") + bytes.fromhex("1201") + b"x"
    assert protobuf.read_mapping(protobuf.read_fields(bytes([0x12, len(entry)]) + entry), 2) == {"a": b"x"}


@pytest.mark.parametrize("content", ["08", "0896", "120774", "0b", "0d0000", "00ff", "08" + "ff" * 11])
def test_what_is_no_message_is_refused(content):
    with pytest.raises(protobuf.Malformed):
        protobuf.read_fields(bytes.fromhex(content))


@pytest.mark.parametrize("end", range(1, len(EXAMPLE)))
def test_a_truncated_message_is_refused_or_ends_between_fields(end):
    if end in {3, 12}:
        protobuf.read_fields(EXAMPLE[:end])
    else:
        with pytest.raises(protobuf.Malformed):
            protobuf.read_fields(EXAMPLE[:end])


@pytest.mark.parametrize("content", ["0a21" + "01" * 33, "0801" * 33, "0a89069601" + "01" * 775])
def test_a_tensor_has_few_sizes(content):
    with pytest.raises(protobuf.Malformed, match="more than 32 dimensions"):
        protobuf.read_sizes(protobuf.read_fields(bytes.fromhex(content)), 1)


def test_sizes_are_not_negative():
    with pytest.raises(protobuf.Malformed, match="-1"):
        protobuf.read_sizes(protobuf.read_fields(bytes.fromhex("08ffffffffffffffffff01")), 1)
    assert protobuf.read_sizes(protobuf.read_fields(bytes.fromhex("0a03018001")), 1) == [1, 128]


def test_a_message_of_very_many_fields_is_refused():
    with pytest.raises(protobuf.Malformed, match="more than 200,000 fields"):
        protobuf.read_fields(bytes.fromhex("0801") * 200_001)
