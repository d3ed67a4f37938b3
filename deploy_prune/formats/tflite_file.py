"""Rewrites a .tflite file: names of its inputs and outputs, its metadata, and files attached to it."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

import numpy as np

from deploy_prune.formats.tensor_names import give_names
from deploy_prune.formats.tflite_clusters import find_clusters
from deploy_prune.formats.tflite_metadata import TensorNotes, write_model_metadata
from deploy_prune.formats.tflite_padding import fold_padding, unfold_padding
from deploy_prune.formats.tflite_sparsity import part_classifiers, store_sparse

if TYPE_CHECKING:
    from flatbuffers import Builder

IDENTIFIER = b"TFL3"
METADATA, OLDEST = b"TFLITE_METADATA", b"min_runtime_version"
DENSIFY_SINCE = "2.2.0"
"""The first TensorFlow Lite with the operator DENSIFY (its versioning/runtime_version.cc)."""
ALIGNMENT = 16
"""Bytes, of every buffer: what the format promises its kernels."""
NUMBERED = re.compile(rb"(?:args|output)_(\d+)")
"""How litert-torch names what goes in and out in the signature; the number is the place in the torch call."""
OLDEST_TIME = (1980, 1, 1, 0, 0, 0)
"""A zip has to say when a file was written; the same network gives the same bytes."""


class TFLiteFile:
    """A parsed .tflite file with one subgraph and at most one signature. Not a value: the methods change it."""

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self._model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
        self._attached: dict[str, bytes] = {}

    @property
    def input_names(self) -> list[str]:
        """What the signature calls the inputs, in the order that `rename` gave them."""
        return [entry.name for entry in self._model.signatureDefs[0].inputs]

    @property
    def output_names(self) -> list[str]:
        """What the signature calls the outputs, in the order that `rename` gave them."""
        return [entry.name for entry in self._model.signatureDefs[0].outputs]

    def fold_padding(self) -> None:
        """Let convolutions pad by themselves where the padding before them is what the format calls SAME."""
        fold_padding(self._model, self._schema)

    def store_sparse(self) -> str:
        """Store 1x1 convolutions without the zeros of their weights, so that XNNPACK skips them, and say how many.

        Raises:
            ExportFailed: XNNPACK would compute the file densely; which operator is to blame.
        """
        unfold_padding(self._model, self._schema)
        part_classifiers(self._model, self._schema)
        clusters = find_clusters(self._model, self._schema)
        pointwise = [operator for cluster in clusters for operator in cluster.pointwise]
        stored = store_sparse(self._model, self._schema, pointwise)
        self._raise_oldest(DENSIFY_SINCE)
        weights, zeros = (
            sum(counts) for counts in zip(*((each.weights, each.zeros) for each in clusters), strict=True)
        )
        entrances, exits = sum(each.entrances for each in clusters), sum(each.exits for each in clusters)
        return (
            f"{stored} of {len(pointwise)} 1x1 convolutions, {zeros / weights:.1%} zeros; "
            f"NHWC to CHW {entrances} times, back {exits} times"
        )

    def rename(self, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Name tensors and signature alike, in the order of the torch call; without names: see `tensor_names.names`.

        litert-torch lists a signature by the alphabet, `args_10` before `args_2`, and the subgraph in the order of the
        call. Afterwards the subgraph's order counts, for there are no numbers in the names any more.
        """
        graph, (signature,) = self._model.subgraphs[0], self._model.signatureDefs
        graph.inputs = _sort_by_call(graph.inputs, signature.inputs)
        graph.outputs = _sort_by_call(graph.outputs, signature.outputs)
        input_names = give_names("input", inputs, len(graph.inputs))
        output_names = give_names("output", outputs, len(graph.outputs))
        signature.inputs = self._name(graph.inputs, input_names)
        signature.outputs = self._name(graph.outputs, output_names, but=frozenset(graph.inputs))

    def _name(self, indices: Sequence[int], names: Sequence[str], *, but: Set[int] = frozenset()) -> list[Any]:
        """Name the tensors, and return the entries of a signature for them.

        Tensors in `but` keep their names: an output that is an input as well has one already.
        """
        entries = []
        for index, name in zip(indices, names, strict=True):
            entry = self._schema.TensorMapT()
            entry.name, entry.tensorIndex = name, index
            entries.append(entry)
            if index not in but:
                self._model.subgraphs[0].tensors[index].name = name
        return entries

    def describe(self, description: str, inputs: Sequence[TensorNotes], outputs: Sequence[TensorNotes]) -> None:
        """Add the metadata that Android's tools read."""
        self._add_metadata(METADATA, write_model_metadata(description, inputs, outputs))

    def note(self, name: str, text: str) -> None:
        """Add a metadata entry of our own, which Android's tools pass over."""
        self._add_metadata(name.encode(), text.encode())

    def _add_metadata(self, name: bytes, content: bytes) -> None:
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(content, np.uint8)
        entry = self._schema.MetadataT()
        entry.name, entry.buffer = name, len(self._model.buffers)
        self._model.buffers.append(buffer)
        self._model.metadata = [*(self._model.metadata or []), entry]

    def _raise_oldest(self, version: str) -> None:
        """Have the file say that it needs this version of TensorFlow Lite, unless it needs a newer one anyway."""
        for entry in self._model.metadata or []:
            if entry.name == OLDEST:
                buffer = self._model.buffers[entry.buffer]
                said = bytes(buffer.data).rstrip(b"\0").decode()
                if _parse_version(said) < _parse_version(version):
                    buffer.data = np.frombuffer(version.encode().ljust(len(buffer.data), b"\0"), np.uint8)

    def attach(self, files: Mapping[str, str]) -> None:
        """Attach text files, which metadata refers to by name."""
        self._attached |= {name: content.encode() for name, content in files.items()}

    def content(self) -> bytes:
        """The bytes of the file: the model, and behind it a zip of what is attached, as the format has it."""
        file = io.BytesIO(pack_model(self._model))
        file.seek(0, io.SEEK_END)
        if self._attached:
            # not compressed: Android maps them into memory
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for name, content in self._attached.items():
                    archive.writestr(zipfile.ZipInfo(name, OLDEST_TIME), content)
        return file.getvalue()


def _parse_version(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def pack_model(model: Any) -> bytes:
    """The bytes of a model of the generated classes, which stays as it is; every buffer aligned."""
    from flatbuffers import Builder

    buffers = model.buffers
    size_bytes = sum(len(buffer.data) for buffer in buffers if buffer.data is not None)
    builder = Builder(size_bytes + ALIGNMENT * len(buffers) + 65536)
    model.buffers = [_Aligned(buffer) for buffer in buffers]
    try:
        builder.Finish(model.Pack(builder), IDENTIFIER)
    finally:
        model.buffers = buffers
    return bytes(builder.Output())


class _Aligned:
    """A buffer that is packed at a multiple of 16 bytes: the generated classes forget the schema's `force_align`."""

    def __init__(self, buffer: Any) -> None:
        self._buffer = buffer

    def Pack(self, builder: Builder) -> int:  # noqa: N802 - the name that the generated classes call
        """Write the buffer."""
        if self._buffer.data is not None:
            builder.Prep(ALIGNMENT, len(self._buffer.data))
        return int(self._buffer.Pack(builder))


def _sort_by_call(listed: Sequence[int], signed: Sequence[Any]) -> list[int]:
    """Indices of the tensors in the order of the torch call: by the signature's numbers, else as the subgraph lists."""
    numbers = [NUMBERED.fullmatch(entry.name) for entry in signed]
    if None in numbers or len(signed) != len(listed):
        return [int(index) for index in listed]
    pairs = [(int(match[1]), int(entry.tensorIndex)) for match, entry in zip(numbers, signed, strict=True) if match]
    return [index for _, index in sorted(pairs, key=lambda pair: pair[0])]
