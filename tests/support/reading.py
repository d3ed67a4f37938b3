"""What an exported file says of itself, read in its format's own way and by none of our code."""

from __future__ import annotations

import importlib
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Said:
    inputs: list[str]
    outputs: list[str]
    labels: list[str] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)
    """What is taken from each pixel, from 0 to 255, before it is divided by `std`."""
    std: list[float] = field(default_factory=list)


def said(path: Path) -> Said:
    readers = {".aimodel": _coreai, ".onnx": _onnx, ".mlpackage": _coreml, ".pte": _executorch, ".tflite": tflite}
    return readers[path.suffix](path)


def _of(known: dict[str, Any], inputs: list[str], outputs: list[str]) -> Said:
    if "mean" not in known:
        return Said(inputs, outputs, known.get("labels", []))
    mean, std = ([number / known["scale"] for number in known[name]] for name in ("mean", "std"))
    return Said(inputs, outputs, known.get("labels", []), mean, std)


def _values(texts: dict[str, str]) -> dict[str, Any]:
    return {key: json.loads(texts[key]) for key in ("labels", "scale", "mean", "std") if key in texts}


def _onnx(path: Path) -> Said:
    import onnx

    model = onnx.load(path)
    texts = {each.key: each.value for each in model.metadata_props}
    return _of(_values(texts), [each.name for each in model.graph.input], [each.name for each in model.graph.output])


def _coreml(path: Path) -> Said:
    import coremltools

    description = coremltools.utils.load_spec(str(path)).description
    names = [[each.name for each in features] for features in (description.input, description.output)]
    return _of(_values(dict(description.metadata.userDefined)), *names)


def _coreai(path: Path) -> Said:
    from coreai.authoring import AIModelAsset

    asset = AIModelAsset.load(path)
    told = asset.summary(include_statistics=False)
    assert told
    names = [[name for name, _ in named("main")] for named in (told.function_inputs, told.function_outputs)]
    return _of(asset.metadata.creator_defined_metadata, *names)


def constants(path: Path) -> dict[str, Any]:
    """What the methods without inputs of a .pte file return; a list where they return several values."""
    bindings = importlib.import_module("executorch.extension.pybindings._C")
    program = bindings._load_program(str(path))
    names = [program.get_method_name(index) for index in range(program.num_methods())]
    return {name: program.load_method(name).call(()) for name in names if name != "forward"}


def _executorch(path: Path) -> Said:
    methods = constants(path)
    known = {key: methods[f"get_{key}"] for key in ("mean", "std") if f"get_{key}" in methods}
    if "get_scale" in methods:
        known["scale"] = methods["get_scale"][0]
    if "get_labels" in methods:
        known["labels"] = methods["get_labels"][0].split("\n")
    return _of(known, methods.get("get_input_names", ["input"]), methods.get("get_output_names", ["output"]))


def tflite(path: Path) -> Said:
    """What a file says by the generated schema of models, and by the places of the metadata schema."""
    from ai_edge_litert import schema_py_generated as schema

    content = path.read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    (signature,) = model.signatureDefs
    names = [[entry.name.decode() for entry in entries] for entries in (signature.inputs, signature.outputs)]
    graph = model.subgraphs[0]
    assert [graph.tensors[index].name.decode() for index in graph.inputs] == names[0]
    said = Said(*names)
    if metadata := [
        bytes(model.buffers[each.buffer].data) for each in model.metadata if each.name == b"TFLITE_METADATA"
    ]:
        (subgraph,) = _tables(root(metadata[0]), 3)
        image, scores = _tables(subgraph, 2)[0], _tables(subgraph, 3)[0]
        for unit in _tables(image, 4):
            options = _table(unit, 1)
            said.mean, said.std = _floats(options, 0), _floats(options, 1)
        for file in _tables(scores, 6):
            with zipfile.ZipFile(path) as archive:
                said.labels = archive.read(text(file, 0)).decode().split("\n")
    return said


def root(content: bytes) -> Any:
    """The outermost table of a flatbuffer."""
    import flatbuffers

    start = flatbuffers.encode.Get(flatbuffers.packer.uoffset, content, 0)
    return flatbuffers.table.Table(bytearray(content), start)


def _at(table: Any, slot: int) -> int:
    return int(table.Offset(4 + 2 * slot))


def _table(table: Any, slot: int) -> Any:
    import flatbuffers

    return flatbuffers.table.Table(table.Bytes, table.Indirect(table.Pos + _at(table, slot)))


def _tables(table: Any, slot: int) -> list[Any]:
    import flatbuffers

    at = _at(table, slot)
    start, count = (table.Vector(at), table.VectorLen(at)) if at else (0, 0)
    return [flatbuffers.table.Table(table.Bytes, table.Indirect(start + 4 * index)) for index in range(count)]


def _floats(table: Any, slot: int) -> list[float]:
    from flatbuffers import number_types

    at = _at(table, slot)
    start, count = table.Vector(at), table.VectorLen(at)
    return [table.Get(number_types.Float32Flags, start + 4 * index) for index in range(count)]


def text(table: Any, slot: int) -> str:
    return str(table.String(table.Pos + _at(table, slot)).decode())
