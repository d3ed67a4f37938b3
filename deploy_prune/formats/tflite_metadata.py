"""Writes TensorFlow Lite's model metadata: what Android's tools, ML Kit and MediaPipe read of a .tflite file.

The format is tensorflow's `metadata_schema.fbs`; its own writer, tflite-support, ended in 2023 with numpy 1 and Python
3.11. We use a few tables of it, so that they are laid out here, each field at its place in the schema.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flatbuffers import Builder

IDENTIFIER = b"M001"
PARSER_VERSION = "1.0.0"
"""The first version of the schema has everything that we write."""
FEATURE, IMAGE = 1, 2
"""Kinds of content: numbers, and an image."""
COLOR_SPACES = {3: 1, 1: 2}
"""Channels -> the schema's number of red, green, blue and of grey."""
NORMALIZATION = 1
"""Kind of processing: (pixel - mean) / std."""
AXIS_LABELS = 2
"""Kind of an associated file: a name per place of the axis."""

Field = Callable[["Builder"], int]
"""Writes what a field points to and gives its offset."""


@dataclass(frozen=True)
class TensorNotes:
    """What the metadata says of one input or output."""

    name: str
    description: str = ""
    color_space: int | None = None
    """Given: it is an image."""
    pixel_mean: tuple[float, ...] = ()
    """The mean of pixels from 0 to 255, one number per channel; empty: nothing is said about normalisation."""
    pixel_std: tuple[float, ...] = ()
    labels_file: str = ""
    """Name of the attached file with a label per line."""


def write_model_metadata(description: str, inputs: Sequence[TensorNotes], outputs: Sequence[TensorNotes]) -> bytes:
    """The `ModelMetadata` table; inputs and outputs in the order of the file's own lists."""
    from flatbuffers import Builder

    subgraph = make_table(
        {2: make_tables(map(_describe_tensor, inputs)), 3: make_tables(map(_describe_tensor, outputs))}
    )
    model = make_table({1: make_text(description), 3: make_tables([subgraph]), 7: make_text(PARSER_VERSION)})
    builder = Builder(1024)
    builder.Finish(model(builder), IDENTIFIER)
    return bytes(builder.Output())


def _describe_tensor(notes: TensorNotes) -> Field:
    fields = {0: make_text(notes.name), 1: make_text(notes.description)}
    if notes.color_space is not None:
        fields[3] = make_table({1: make_table({}, {0: notes.color_space})}, {0: IMAGE})
    elif notes.labels_file:
        fields[3] = make_table({1: make_table({})}, {0: FEATURE})
    if notes.pixel_mean:
        options = make_table({0: make_floats(notes.pixel_mean), 1: make_floats(notes.pixel_std)})
        fields[4] = make_tables([make_table({1: options}, {0: NORMALIZATION})])
    if notes.labels_file:
        file = make_table({0: make_text(notes.labels_file), 1: make_text("One label per line.")}, {2: AXIS_LABELS})
        fields[6] = make_tables([file])
    return make_table(fields)


def make_table(fields: dict[int, Field], numbers: dict[int, int] | None = None) -> Field:
    """A table: place in the schema -> what stands there, or the byte that stands there."""

    def write(builder: Builder) -> int:
        offsets = {slot: field(builder) for slot, field in fields.items()}
        numbers_ = numbers or {}
        builder.StartObject(max((*offsets, *numbers_), default=-1) + 1)
        for slot, offset in offsets.items():
            builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        for slot, number in numbers_.items():
            builder.PrependUint8Slot(slot, number, 0)
        return int(builder.EndObject())

    return write


def make_tables(members: Sequence[Field] | map[Field]) -> Field:
    """A vector of tables."""
    written = list(members)

    def write(builder: Builder) -> int:
        offsets = [member(builder) for member in written]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())

    return write


def make_floats(numbers: Sequence[float]) -> Field:
    """A vector of 32-bit floats."""

    def write(builder: Builder) -> int:
        builder.StartVector(4, len(numbers), 4)
        for number in reversed(numbers):
            builder.PrependFloat32(number)
        return int(builder.EndVector())

    return write


def make_text(content: str) -> Field:
    """A string."""
    return lambda builder: int(builder.CreateString(content))
