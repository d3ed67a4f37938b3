"""Saved packages: read as coremltools reads them, and whatever is changed in one is noticed."""

from __future__ import annotations

import gc
import shutil
import warnings

import numpy as np
import pytest
import torch
from apple import load_model, load_spec
from torch import nn

from deploy_prune.errors import InputError, NotVerifiable
from deploy_prune.exporting.exporters.coreml import SPECIFICATION, WEIGHTS, CoreML
from deploy_prune.exporting.parity.reference import answer, make_questions
from deploy_prune.exporting.parity.verification import verify
from deploy_prune.formats import protobuf
from deploy_prune.formats.mil import Evaluator, read_package
from deploy_prune.timing.runtimes import coreml as runtime_module
from deploy_prune.values import Artifact, Network, NetworkIdentity

RUNTIME = runtime_module.CoreML()


@pytest.fixture
def package(tiny_mlpackage, tmp_path):
    return shutil.copytree(tiny_mlpackage, tmp_path / "tiny.mlpackage")


def _rewritten(package, change):
    """Let `change` edit the specification's operations by kind."""
    path = package / "Data" / SPECIFICATION
    specification = load_spec(path)
    (block,) = specification.mlProgram.functions["main"].block_specializations.values()
    change({operation.type: operation for operation in reversed(block.operations)}, block)
    path.write_bytes(specification.SerializeToString())


def _set(block, name, *values):
    """Give a constant other whole numbers."""
    (constant,) = (each for each in block.operations if each.outputs[0].name == name)
    tensor = constant.attributes["val"].immediateValue.tensor
    tensor.ints.values[:] = values


def _argument(operation, name):
    return operation.inputs[name].arguments[0].name


def _parity(network, path):
    artifact = Artifact(
        path=str(path), format="coreml", network=NetworkIdentity(network.address), runtime="coreml", precision="fp32",
        layout="nchw", input_shape=network.input_shape, dynamic_batch=False, size_bytes=1, sha256="",
        exporter="coremltools", seconds=0.0,
    )  # fmt: skip
    return verify(answer(make_questions(network)), artifact, runtime=RUNTIME)


@pytest.mark.heavy
def test_every_constant_is_what_coremltools_reads(tiny_mlpackage):
    from coremltools.converters.mil.frontend.milproto.load import load

    specification = load_spec(tiny_mlpackage)
    theirs = load(specification, specification.specificationVersion, str(tiny_mlpackage / "Data" / WEIGHTS))
    expected = {op.outputs[0].name: op.val.val for op in theirs.functions["main"].operations if op.op_type == "const"}
    ours = {
        next(iter(each.outputs)): each.arguments["val"]
        for each in read_package(tiny_mlpackage).operations
        if each.kind == "const"
    }
    assert ours.keys() == expected.keys() and len(ours) > 10
    for name, value in expected.items():
        np.testing.assert_array_equal(ours[name], value)


@pytest.mark.heavy
def test_an_undamaged_package_passes(tiny_network, package):
    assert _parity(tiny_network, package).max_error < 1e-6


@pytest.mark.heavy
@pytest.mark.parametrize("offset", [256, -4])
def test_one_changed_weight_is_caught(tiny_network, package, offset):
    """The exponent's highest bit: in the first weight of the file, and in the last."""
    path = package / "Data" / WEIGHTS / "weight.bin"
    content = bytearray(path.read_bytes())
    start = protobuf.unpack("<IIQQ", bytes(content), 64)[3] if offset > 0 else len(content) + offset
    content[start + 3] ^= 0x40
    path.write_bytes(content)
    parity = _parity(tiny_network, package)
    assert not parity.passed and parity.max_error > 1e-4


def test_a_changed_stride_is_caught(tiny_network, package):
    """The program still declares the old shape, as Core ML's own compiler would complain too."""
    _rewritten(package, lambda kinds, block: _set(block, _argument(kinds["conv"], "strides"), 2, 2))
    with pytest.raises(InputError, match=r"conv .* the program says shape \(1, 13, 16, 24\), it is \(1, 13, 8, 12\)"):
        _parity(tiny_network, package)


def test_a_shifted_padding_that_keeps_every_shape_is_caught(tiny_network, package):
    _rewritten(package, lambda kinds, block: _set(block, _argument(kinds["conv"], "pad"), 0, 2, 1, 1))
    assert not _parity(tiny_network, package).passed


def test_another_activation_is_caught(tiny_network, package):
    def swap(kinds, block):
        kinds["relu"].type = "tanh"

    _rewritten(package, swap)
    assert not _parity(tiny_network, package).passed


def test_an_unknown_operator_is_not_verifiable_and_named(package):
    def rename(kinds, block):
        kinds["relu"].type = "frobnicate"

    _rewritten(package, rename)
    with pytest.raises(NotVerifiable, match="not verifiable here: frobnicate"):
        RUNTIME.open(package, threads=1)


def test_an_argument_that_is_not_known_is_not_verifiable(package):
    def add(kinds, block):
        kinds["relu"].inputs["slope"].CopyFrom(kinds["relu"].inputs["x"])

    _rewritten(package, add)
    with pytest.raises(NotVerifiable, match=r"not verifiable here: relu .*slope"):
        RUNTIME.open(package, threads=1)


def test_an_operator_that_reads_what_nobody_made_is_refused(package):
    def cut(kinds, block):
        kinds["relu"].inputs["x"].arguments[0].name = "nowhere"

    _rewritten(package, cut)
    with pytest.raises(InputError, match="'nowhere', which nothing makes"):
        RUNTIME.open(package, threads=1)


def test_a_manifest_cannot_lead_outside(package):
    manifest = package / "Manifest.json"
    manifest.write_text(manifest.read_text().replace("com.apple.CoreML/model.mlmodel", "../../other.mlmodel"))
    with pytest.raises(InputError, match="outside of the package"):
        RUNTIME.open(package, threads=1)


@pytest.mark.heavy
def test_flipped_bytes_of_a_specification_never_crash(package):
    """Every place of the file once: refused, not verifiable, or still a program."""
    path = package / "Data" / SPECIFICATION
    content = path.read_bytes()
    for place in range(0, len(content), 13):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            session = RUNTIME.open(package, threads=1)
            session.run(*(np.zeros([max(size, 1) for size in spec.shape], "f4") for spec in session.inputs))
        except (InputError, NotVerifiable):
            continue


COMPRESSIONS = {
    "constexpr_affine_dequantize": lambda compression, model: compression.linear_quantize_weights(
        model,
        compression.OptimizationConfig(compression.OpLinearQuantizerConfig(mode="linear", weight_threshold=16)),
    ),
    "constexpr_lut_to_dense": lambda compression, model: compression.palettize_weights(
        model,
        compression.OptimizationConfig(compression.OpPalettizerConfig(nbits=6, mode="uniform", weight_threshold=16)),
    ),
    "constexpr_sparse_to_dense": lambda compression, model: compression.prune_weights(
        model,
        compression.OptimizationConfig(compression.OpMagnitudePrunerConfig(target_sparsity=0.6, weight_threshold=16)),
    ),
}


@pytest.mark.heavy
@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_compressed_weights_are_what_coremltools_decompresses(package, tmp_path, kind):
    from coremltools.optimize import coreml as compression

    with warnings.catch_warnings():  # coremltools leaves temporary folders to the garbage collector
        warnings.simplefilter("ignore")
        model = COMPRESSIONS[kind](compression, load_model(package))
        model.save(str(tmp_path / "compressed.mlpackage"))
        compression.decompress_weights(model).save(str(tmp_path / "plain.mlpackage"))
        del model
        gc.collect()
    compressed = read_package(tmp_path / "compressed.mlpackage")
    assert kind in {operation.kind for operation in compressed.operations}
    x = np.random.default_rng(0).standard_normal((1, 3, 16, 24)).astype(np.float32)
    (found,), (expected,) = (
        Evaluator(program).run([x]) for program in (compressed, read_package(tmp_path / "plain.mlpackage"))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.heavy
def test_half_precision_rounds_every_result(tmp_path):
    """1 + 2^-12 is 1 in half precision: added to -1 nothing is left of it; in single precision 2^-12 is."""

    class Sum(nn.Module):
        def forward(self, x, y):
            return (x + y) - 1.0

    network = Network("tests:sum", Sum(), ((3,), (3,)), 3)
    x, y = np.ones((1, 3), np.float32), np.full((1, 3), 2.0**-12, np.float32)
    for precision, left in (("fp32", 2.0**-12), ("fp16", 0.0)):
        path = tmp_path / f"{precision}.mlpackage"
        CoreML().write(network, path, precision=precision)
        (found,) = RUNTIME.open(path, threads=1).run(x, y)
        assert found.dtype == np.float32 and found.tolist() == [[left] * 3]


def test_a_wrong_input_shape_is_refused(tiny_mlpackage):
    session = RUNTIME.open(tiny_mlpackage, threads=1)
    with pytest.raises(InputError, match=r"input.*\(1, 3, 16, 24\)"):
        session.run(torch.zeros(1, 3, 24, 16).numpy())
