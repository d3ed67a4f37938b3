"""Our files in runtimes of 2023, and read by tensorflow's own tools: what apps that are not built anew have."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deploy_prune import plugins
from deploy_prune.exporting.app_interface import draw_pixels
from deploy_prune.values import AppForm, Network, Normalisation

PACKAGES = ("numpy<2", "tflite-runtime==2.14.0", "tflite-support==0.4.4", "libusb-package", "onnxruntime==1.15.0")
INSTALL_TIMEOUT_S = 300
NORMALISATION = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LABELS = ("cat", "dog", "été", "two words", "last")
NAMES = ("camera", "probabilities")
TOLERANCE = 1e-4

pytestmark = pytest.mark.heavy


@dataclass(frozen=True)
class Case:
    format: str
    form: AppForm
    options: tuple[tuple[str, Any], ...] = ()
    mobilenet: bool = False


CASES = {
    "tflite": Case("tflite", AppForm(labels=LABELS, normalisation=NORMALISATION)),
    "tflite baked": Case(
        "tflite",
        AppForm(
            NORMALISATION, LABELS, "uint8", bake=True, softmax=True, input_names=("camera",), output_names=NAMES[1:]
        ),
    ),
    "tflite baked float": Case("tflite", AppForm(NORMALISATION, LABELS, bake=True, softmax=True)),
    "tflite mobilenet": Case("tflite", AppForm(), mobilenet=True),
    "tflite sparse mobilenet": Case("tflite", AppForm(), (("sparse", True),), mobilenet=True),
    "onnx": Case("onnx", AppForm()),
    "onnx 13": Case("onnx", AppForm(NORMALISATION, LABELS, "uint8", bake=True, softmax=True), (("opset", 13),)),
    "onnx 13 mobilenet": Case("onnx", AppForm(), (("opset", 13),), mobilenet=True),
}


@pytest.fixture(scope="module")
def old_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old")
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    done = _run([python, "-m", "pip", "install", "--quiet", *PACKAGES], timeout_s=INSTALL_TIMEOUT_S)
    if done.returncode:
        pytest.skip(f"pip cannot install {', '.join(PACKAGES)} here: {done.stderr.strip().splitlines()[-1]}")
    return python


def _run(command: list[Any], *, timeout_s: float) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, env=environment, check=False)


@pytest.fixture(scope="module")
def answers(old_python: Path, tiny_network: Network, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Case -> what the old runtime answered, with what torch computes as "expected"."""
    folder = tmp_path_factory.mktemp("files")
    mobilenets = {masked: _mobilenet(masked=masked) for masked in (False, True)}
    jobs, expected = [], []
    for index, case in enumerate(CASES.values()):
        network = mobilenets[dict(case.options).get("sparse", False)] if case.mobilenet else tiny_network
        job, scores = _job(folder / str(index), case, network)
        jobs.append(job)
        expected.append(scores)
    (folder / "jobs.json").write_text(json.dumps(jobs))
    done = _run([old_python, Path(__file__).with_name("old_runtimes.py"), folder / "jobs.json"], timeout_s=120)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    return {name: {**answer, "expected": scores} for name, answer, scores in zip(CASES, found, expected, strict=True)}


def _mobilenet(*, masked: bool) -> Network:
    """Its norms have the statistics of images: in a fresh network the scores hardly depend on the input.

    Masked, it has a quarter of its 1x1 kernels, the largest of each layer.
    """
    from torchvision.models import mobilenet_v2

    torch.manual_seed(0)
    module = mobilenet_v2()
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0
        if masked and isinstance(part, torch.nn.Conv2d) and part.kernel_size == (1, 1):
            part.weight.data *= part.weight.abs() >= part.weight.abs().quantile(0.75)
    with torch.no_grad():
        module.train()(torch.randn(4, 3, 224, 224))
    return Network("torchvision:mobilenet_v2", module, ((3, 224, 224),), 1000)


def _job(stem: Path, case: Case, network: Network) -> tuple[dict[str, str], np.ndarray]:
    exporter = plugins.build("exporters", case.format, dict(case.options))
    path = stem.with_suffix(exporter.suffix)
    exporter.write(network, path, case.form)
    pixels = draw_pixels(network, batch=1, seed=7).numpy()
    mean, std = (np.array(each).reshape(1, -1, 1, 1) for each in (NORMALISATION.mean, NORMALISATION.std))
    normalised = ((pixels / 255 - mean) / std).astype(np.float32)
    module = copy.deepcopy(network.module).eval()
    with torch.no_grad():
        scores, others = module(torch.from_numpy(normalised)), module(torch.from_numpy(-normalised))
    assert (scores - others).abs().max() > 0.1 * scores.abs().max(), "the scores say nothing of the input"
    taken = (
        pixels.astype(case.form.input if case.form.input == "uint8" else np.float32) if case.form.bake else normalised
    )
    layout = exporter.camera_layout if case.form.bake else exporter.layout
    np.save(stem.with_suffix(".input.npy"), np.moveaxis(taken, 1, -1).copy() if layout == "nhwc" else taken)
    np.save(stem.with_suffix(".photo.npy"), np.moveaxis(pixels[0], 0, -1).copy())
    photo = stem.with_suffix(".photo.npy") if case.format == "tflite" and case.form.labels else ""
    job = {"path": str(path), "input": str(stem.with_suffix(".input.npy")), "photo": str(photo)}
    return job, (scores.softmax(1) if case.form.softmax else scores).numpy()


@pytest.mark.parametrize("name", CASES)
def test_a_runtime_of_2023_computes_what_torch_does(answers, name):
    found, expected = np.array(answers[name]["output"]), answers[name]["expected"]
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()


def test_the_names_are_those_that_were_asked_for(answers):
    assert answers["tflite baked"]["names"] == list(NAMES)
    assert answers["tflite"]["names"] == answers["onnx 13"]["names"] == ["input", "output"]


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [("tflite", [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]), ("tflite baked", [0, 0, 0], [1, 1, 1])],
)
def test_tensorflows_own_reader_finds_names_colours_normalisation_and_labels(answers, name, mean, std):
    (subgraph,) = answers[name]["metadata"]["subgraph_metadata"]
    (image,), (scores,) = subgraph["input_tensor_metadata"], subgraph["output_tensor_metadata"]
    assert [image["name"], scores["name"]] == answers[name]["names"]
    assert image["content"]["content_properties"] == {"color_space": "RGB"}
    (unit,) = image["process_units"]
    np.testing.assert_allclose(unit["options"]["mean"], mean, rtol=1e-6)
    np.testing.assert_allclose(unit["options"]["std"], std, rtol=1e-6)
    (file,) = scores["associated_files"]
    assert (file["name"], file["type"]) == ("labels.txt", "TENSOR_AXIS_LABELS")
    assert answers[name]["files"] == ["labels.txt"] and answers[name]["metadata"]["min_parser_version"] == "1.0.0"


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("tflite") and "mobilenet" not in name])
def test_tensorflows_own_classifier_gives_each_label_its_score_from_nothing_but_pixels(answers, name):
    """It normalises as the metadata says; scores of 0 and less it leaves out."""
    expected = dict(zip(LABELS, answers[name]["expected"][0], strict=True))
    assert answers[name]["scores"] == pytest.approx(
        {label: score for label, score in expected.items() if score > 0}, rel=1e-3
    )
