"""Finished runs by hand, with a file that a runtime does run: a linear layer as ONNX, which takes no converter."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import finished
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from deploy_prune.records import count_bytes, sha256, write_record
from deploy_prune.results import ShipResult
from deploy_prune.values import AppForm, Artifact, NetworkIdentity, Normalisation, Parity, Shipment

SHAPE = (3, 5, 7)
CLASSES = ("cat", "dog", 'a "quoted" name', "größe")
FORM = AppForm(normalisation=Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), labels=CLASSES)


def write_linear(path: Path, *, seed: int) -> None:
    """A file that gives four scores of an image."""
    draw = np.random.default_rng(seed)
    weight = draw.normal(size=(int(np.prod(SHAPE)), len(CLASSES))).astype(np.float32)
    nodes = [helper.make_node("Flatten", ["input"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["output"])]
    graph = helper.make_graph(
        nodes, "linear",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, (1, *SHAPE))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, (1, len(CLASSES)))],
        [numpy_helper.from_array(weight, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(model)


def describe(path: Path, digest: str, format_: str) -> Artifact:
    """What a run's record says of its file."""
    return Artifact(
        path=f"elsewhere/{path.name}", format=format_, network=NetworkIdentity("net", digest), runtime="onnxruntime",
        precision="fp32", layout="nchw", input_shape=SHAPE, dynamic_batch=False, size_bytes=count_bytes(path),
        sha256=sha256(path), exporter="by hand", seconds=1.0, needs={"ONNX Runtime": "1.14"},
    )  # fmt: skip


def make_run(
    run: Path,
    *,
    seed: int = 0,
    accuracy: float = 0.9,
    form: AppForm = FORM,
    status: str = "verified",
    format_: str = "onnx",
) -> Path:
    """A run folder whose pruned file is verified, as its record says."""
    folder = run / "export-1"
    folder.mkdir(parents=True)
    write_linear(folder / "pruned.onnx", seed=seed)
    parity = Parity(passed=True, max_error=1e-7, tolerance=1e-4, agreement=1.0, ties=0, images=200)
    row = Shipment(format_, status, describe(folder / "pruned.onnx", f"digest-{seed}", format_), parity)  # type: ignore[arg-type]
    shipped = ShipResult((), (row,))
    quality = finished.top1(accuracy, (accuracy - 0.02, accuracy + 0.02))
    test = dataclasses.replace(finished.RUN.test, pruned=quality)
    write_record(run / "run.json", {"model": "net"}, dict)
    write_record(run / "form.json", form)
    write_record(run / "shipped-1.json", shipped)
    write_record(run / "summary.json", dataclasses.replace(finished.RUN, ship=shipped, test=test))
    return run


def write_keys(folder: Path) -> tuple[Path, Path]:
    """A private key and its public half, as openssl writes them."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    private, public = folder / "key.pem", folder / "public.pem"
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, none))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public
