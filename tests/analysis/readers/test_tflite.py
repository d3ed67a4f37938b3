from __future__ import annotations

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from building import interrupted_delegation

from deploy_prune.analysis.readers.tflite import TFLite
from deploy_prune.analysis.xnnpack_delegation import ask_delegated
from deploy_prune.exporting.exporters.tflite import TFLite as Exporter

IDENTIFIER = b"TFL3"


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    path = tmp_path_factory.mktemp("interrupted") / "net.tflite"
    Exporter().write(interrupted_delegation(), path)
    return path


def rewritten(file, path, change):
    """A copy after `change` has edited its tables."""
    model = schema.ModelT.InitFromPackedBuf(file.read_bytes())
    change(model)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    path.write_bytes(bytes(builder.Output()))
    return path


def with_metadata(model, name, content):
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = list(content)
    entry.name, entry.buffer = name, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata.append(entry)


def details():
    """The table of task libraries with a name (field 0), an author (4) and a file of labels (6)."""
    builder = flatbuffers.Builder()
    name, author, labels = map(builder.CreateString, ("tiny net", "someone", "labels.txt"))
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(0, labels, 0)
    file = builder.EndObject()
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(file)
    files = builder.EndVector()
    builder.StartObject(8)
    for field, value in ((0, name), (4, author), (6, files)):
        builder.PrependUOffsetTRelativeSlot(field, value, 0)
    builder.Finish(builder.EndObject(), file_identifier=b"M001")
    return bytes(builder.Output())


@pytest.mark.heavy
def test_what_xnnpack_leaves_is_named(interrupted):
    report = TFLite().read(interrupted)
    total = sum(row.count for row in report.operators)
    assert report.xnnpack == f"leaves 1 of {total} operators: CUMSUM x 1"
    assert [row.name for row in report.operators if row.kernels == "LiteRT"] == ["CUMSUM"]


@pytest.mark.heavy
def test_it_is_what_litert_shows_with_a_delegate_per_operator(interrupted):
    """Asked another way: without fusion each operator that is taken has a node of its own, with its very outputs."""
    total = sum(row.count for row in TFLite().read(interrupted).operators)
    interpreter = Interpreter(str(interrupted), num_threads=1, experimental_disable_delegate_node_fusion=True)
    interpreter.allocate_tensors()
    nodes = [tuple(each["outputs"]) for each in interpreter._get_ops_details()]
    expected = {place for place, outputs in enumerate(nodes[:total]) if outputs in nodes[total:]}
    assert 0 < len(expected) < total
    assert ask_delegated(interrupted, total) == expected


@pytest.mark.heavy
def test_an_operator_that_litert_does_not_have_leaves_the_question_open(tiny_tflite, tmp_path):
    def change(model):
        model.operatorCodes[0].builtinCode = schema.BuiltinOperator.STABLEHLO_SORT
        model.operatorCodes[0].deprecatedBuiltinCode = 127

    report = TFLite().read(rewritten(tiny_tflite, tmp_path / "net.tflite", change))
    assert report.xnnpack.startswith("not known: LiteRT refuses it: Didn't find op for builtin opcode 'STABLEHLO_SORT'")
    assert "STABLEHLO_SORT" in {row.name for row in report.operators}
    assert {row.kernels for row in report.operators} == {""}


@pytest.mark.heavy
def test_the_oldest_runtime_is_the_converters_word_or_the_versions_of_the_operators(tiny_tflite, tmp_path):
    def change(model):
        model.metadata = []
        model.operatorCodes[1].version = 7

    told = TFLite().read(tiny_tflite)
    assert told.needs == {"TensorFlow Lite": f"{told.metadata['min_runtime_version']}, as its converter says"}
    untold = TFLite().read(rewritten(tiny_tflite, tmp_path / "net.tflite", change))
    assert untold.needs == {"TensorFlow Lite": "not told by the file; its operators are of version 7 or older"}


@pytest.mark.heavy
def test_metadata_is_shortened_and_the_table_of_task_libraries_is_opened(tiny_tflite, tmp_path):
    def change(model):
        with_metadata(model, "notes", b"line\nafter line " * 20)
        with_metadata(model, "picture", b"\x89PNG\xff")
        with_metadata(model, "TFLITE_METADATA", details())

    metadata = TFLite().read(rewritten(tiny_tflite, tmp_path / "net.tflite", change)).metadata
    assert metadata["notes"].startswith("line after line") and len(metadata["notes"]) == 80
    assert metadata["picture"] == "5 bytes"
    assert metadata["TFLITE_METADATA.name"] == "tiny net"
    assert metadata["TFLITE_METADATA.author"] == "someone"
    assert metadata["TFLITE_METADATA.files"] == "labels.txt"


def test_types_are_the_tensors_own(tiny_tflite, tmp_path):
    def change(model):
        for tensor in model.subgraphs[0].tensors:
            if tensor.type == schema.TensorType.INT32:
                tensor.type = schema.TensorType.INT8

    before = TFLite().read(tiny_tflite).weights_bytes
    after = TFLite().read(rewritten(tiny_tflite, tmp_path / "net.tflite", change)).weights_bytes
    assert after == {"float32": before["float32"], "int8": before["int32"]}
