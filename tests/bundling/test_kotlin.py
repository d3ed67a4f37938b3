"""The Kotlin that bundles carry: compiled for a bare JVM, its Android part against stand-ins; run on a tiny bundle."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle
from app_toolchains import NO_KOTLIN, Kotlin, compile_kotlin
from bundled import make_run, write_keys

from deploy_prune.bundling.bundle import bundle as bundle_of
from deploy_prune.bundling.order import BundleOrder
from deploy_prune.sources.data import normalise

pytestmark = [pytest.mark.heavy, pytest.mark.skipif(bool(NO_KOTLIN), reason=NO_KOTLIN)]
HERE = Path(__file__).parent
APP = Path(str(resources.files("deploy_prune.bundling"))) / "app/android"


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Kotlin:
    """Bundle.kt, with nothing beside it but Kotlin's own library."""
    classes = tmp_path_factory.mktemp("loader")
    compile_kotlin([APP / "Bundle.kt", HERE / "kotlin/Main.kt"], classes)
    return Kotlin(classes, "com.deployprune.MainKt")


@pytest.fixture(scope="module")
def android(loader: Kotlin, tmp_path_factory: pytest.TempPathFactory) -> Kotlin:
    """The Android part and its instrumented test, with stand-ins for Android, LiteRT and JUnit."""
    classes = tmp_path_factory.mktemp("android")
    stubs = sorted((HERE / "stubs").glob("*.kt"))
    sources = [APP / "AndroidModel.kt", APP / "GoldenPairTest.kt", HERE / "kotlin/AndroidMain.kt", *stubs]
    compile_kotlin(sources, classes, beside=(loader.classes,))
    return Kotlin(classes, "com.deployprune.AndroidMainKt", (loader.classes,))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle.write_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def bundle(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(whole, tmp_path / "bundle")


@pytest.fixture
def parse(loader: Kotlin, whole: Path, tmp_path: Path) -> Callable[[Sequence[Mapping[str, object]]], list[str]]:
    """What the loader says of bundle.json with something changed: a line per set of changes."""
    manifest = json.loads((whole / "bundle.json").read_text())

    def parsed(changes: Sequence[Mapping[str, object]]) -> list[str]:
        (tmp_path / "lines.json").write_text("".join(json.dumps({**manifest, **each}) + "\n" for each in changes))
        return loader.run("parse", tmp_path / "lines.json")

    return parsed


def test_preprocessing_gives_what_training_does_to_the_last_bit(loader: Kotlin, tmp_path: Path) -> None:
    """Two hundred random images of odd sizes and constants, in both layouts."""
    tiny_bundle.write_cases(tmp_path)
    assert loader.run("preprocess", tmp_path) == []
    assert (tmp_path / "actual.bin").read_bytes() == (tmp_path / "expected.bin").read_bytes()


def test_golden_inputs_are_those_of_training_and_of_the_loader(loader: Kotlin, whole: Path) -> None:
    pixels = np.fromfile(whole / "golden/pixels.bin", np.uint8).reshape(tiny_bundle.draw_pixels().shape)
    trained = normalise(pixels, tiny_bundle.MEAN, tiny_bundle.STD).numpy()
    assert trained.astype("<f4").tobytes() == (whole / "golden/input.bin").read_bytes()
    assert loader.run("golden", whole) == [str(tiny_bundle.IMAGES)]


def test_the_loader_reads_what_bundle_writes(loader: Kotlin, tmp_path: Path) -> None:
    made = bundle_of(BundleOrder((make_run(tmp_path / "wide"),), formats=("onnx",)), tmp_path / "made")
    assert loader.run("check", tmp_path / "made") == [f"{len(made.files)} files"]
    assert loader.run("golden", tmp_path / "made") == [str(made.golden.images)]


def test_the_loader_takes_the_signature_that_bundle_gives(loader: Kotlin, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    private, _ = write_keys(tmp_path)
    order = BundleOrder((make_run(tmp_path / "wide"),), formats=("onnx",), signing_key=private)
    made = bundle_of(order, tmp_path / "made")
    assert loader.run("signature", tmp_path / "made", made.signed_by) == ["signed"]


def test_the_loader_chooses_as_the_table_says(loader: Kotlin, tmp_path: Path) -> None:
    orders = tiny_bundle.write_choices(HERE / "choices.json", tmp_path / "cases.json")
    refused = "refused: bundle.json has no file of the format 'tflite'"
    assert loader.run("choose", tmp_path / "cases.json") == [" ".join(order) or refused for order in orders]


def test_a_changed_file_is_refused_by_its_name(loader: Kotlin, bundle: Path) -> None:
    files = json.loads((bundle / "bundle.json").read_text())["files"]
    assert loader.run("check", bundle) == [f"{len(files)} files"]
    path = "golden/half/output.bin"
    tiny_bundle.change(bundle, path)
    (line,) = loader.run("check", bundle)
    assert line.startswith(f"refused: {path} is not the file of the bundle: its sha256 is")


def test_a_path_that_leads_out_of_the_bundle_is_refused(parse: Callable[..., list[str]]) -> None:
    paths = ["../half.tflite", "/half.tflite", "a/../../b", "a//b", "a/./b", "a\\b", "C:b", "a\tb", ""]
    lines = parse([{"golden": {"images": 1, "pixels": path, "input": "golden/input.bin"}} for path in paths])
    assert lines == [f"refused: bundle.json names '{path}', which is no path inside of the bundle" for path in paths]


def test_what_no_loader_of_this_schema_can_use_is_refused(parse: Callable[..., list[str]]) -> None:
    another = "bundle.json is of schema 2, this code reads schema 1: take the loader that lies in the same bundle"
    refusals: list[tuple[dict[str, object], str]] = [
        ({}, "read tiny"),
        ({"unknown": 1}, "read tiny"),
        ({"schema": 2, "variants": "other"}, f"refused: {another}"),
        ({"labels": "ant"}, "refused: bundle.json: labels is not a list"),
        ({"variants": [{"name": "a"}]}, "refused: bundle.json: variants[0].accuracy is missing"),
        ({"fallback": "tenth"}, "refused: bundle.json names the variant 'tenth', and has [full, half, quarter]"),
        ({"outputs": []}, "refused: bundle.json: full has 1 golden outputs of 0"),
    ]
    assert parse([changes for changes, _ in refusals]) == [refusal for _, refusal in refusals]


def test_what_is_no_json_is_refused(loader: Kotlin, tmp_path: Path) -> None:
    texts = ["", "{", '{"a": 1,}', '{"a": 1} 2', '{"a": 01}', '{"a": .5}', '{"a": "\\x"}', '{"a": 1, "a": 2}', "[" * 99]
    (tmp_path / "lines.json").write_text("\n".join(texts) + "\n")
    lines = loader.run("parse", tmp_path / "lines.json")
    assert len(lines) == len(texts)
    assert all(line.startswith("refused: bundle.json is no JSON: ") for line in lines), lines


def test_a_signature_is_accepted_from_its_key_alone(loader: Kotlin, bundle: Path) -> None:
    unsigned, key = "0" * 64, ""
    assert loader.run("signature", bundle, unsigned) == ["refused: bundle.json is not signed"]
    (key,) = loader.run("sign", bundle)
    assert loader.run("signature", bundle, key) == ["signed"]
    assert loader.run("signature", bundle, unsigned) == [f"refused: bundle.json is signed by {key}"]
    manifest = bundle / "bundle.json"
    manifest.write_text(manifest.read_text().replace('"value": 0.9,', '"value": 0.99,'))
    changed = "refused: bundle.json.sig does not fit bundle.json: one of them was changed"
    assert loader.run("signature", bundle, key) == [changed]
    (bundle / "bundle.json.sig").write_bytes(b"short")
    assert loader.run("signature", bundle, key) == [changed]
    (bundle / "bundle.json.sig").unlink()
    missing = "refused: bundle.json is signed, and bundle.json.sig is missing"
    assert loader.run("signature", bundle, key) == [missing]


def test_errors_and_labels_by_hand(loader: Kotlin) -> None:
    assert loader.run("answers") == [
        "0.2",
        "0.0",
        "Infinity",
        "Infinity",
        "TopLabel(index=1, text=bee, score=3.0)",
        "TopLabel(index=1, text=1, score=3.0)",
        "refused: 2 scores for 1 labels",
    ]


PASSED = [
    "passed everyVariantGivesTheGoldenAnswers",
    "passed preprocessingGivesTheGoldenInputsBitForBit",
    "passed theAppHasABundle",
]


def run_golden_pairs(android: Kotlin, bundle: Path, app: Path) -> list[str]:
    return android.run("golden", app, bundle / "android/loader/src/androidTest/assets")


def test_golden_pairs_pass_with_plain_assets_and_with_what_a_pack_delivers(
    android: Kotlin, whole: Path, tmp_path: Path
) -> None:
    plain = tiny_bundle.copy_assets(whole, tmp_path / "plain")
    assert run_golden_pairs(android, whole, plain) == PASSED
    packed = tiny_bundle.copy_assets(whole, tmp_path / "packed", group="Qualcomm_SM8750", plain=False)
    assert run_golden_pairs(android, whole, packed) == PASSED


def test_golden_pairs_notice_another_network_other_constants_and_a_bundle_that_is_not_there(
    android: Kotlin, bundle: Path, tmp_path: Path
) -> None:
    app = tiny_bundle.copy_assets(bundle, tmp_path / "app")
    answers = bundle / "android/loader/src/androidTest/assets/golden/half/output.bin"
    answers.write_bytes((np.fromfile(answers, "<f4") * np.float32(1.001)).tobytes())
    first, *others = run_golden_pairs(android, bundle, app)
    assert "half.tflite, image 0, output: relative error 9.99" in first
    assert others == PASSED[1:]
    manifest = app / tiny_bundle.NAME / "bundle.json"
    document = json.loads(manifest.read_text())
    document["input"]["shift"][2] += 1e-6
    manifest.write_text(json.dumps(document))
    assert run_golden_pairs(android, bundle, app)[1].startswith("failed preprocessingGivesTheGoldenInputsBitForBit")
    assert run_golden_pairs(android, bundle, tmp_path / "nothing")[2] == (
        "failed theAppHasABundle: no bundle.json among the assets"
    )


def test_the_next_variant_is_opened_where_one_is_missing_or_does_not_open(
    android: Kotlin, bundle: Path, tmp_path: Path
) -> None:
    app = tiny_bundle.copy_assets(bundle, tmp_path / "app")
    assert android.run("open", app, 9)[0].startswith("full ")
    assert android.run("open", app, 2)[0].startswith("half ")
    (app / "tiny/full.tflite").unlink()
    assert android.run("open", app, 9)[0].startswith("half ")
    spoil(app, "half")
    assert android.run("open", app, 9)[0].startswith("quarter ")
    spoil(app, "quarter")
    assert android.run("open", app, 9) == [
        "refused: no variant of 'tiny' opens (full: not among the app's assets; half: no model; quarter: no model)"
    ]


def spoil(app: Path, variant: str) -> None:
    """Put what LiteRT does not open in a variant's place, as if it had been so from the start."""
    manifest = app / "tiny/bundle.json"
    document = json.loads(manifest.read_text())
    (row,) = (each for each in document["variants"] if each["name"] == variant)
    (app / f"tiny/{variant}.tflite").write_bytes(b"no model")
    row["files"][0]["sha256"] = hashlib.sha256(b"no model").hexdigest()
    manifest.write_text(json.dumps(document))


def test_a_changed_model_is_not_opened(android: Kotlin, bundle: Path, tmp_path: Path) -> None:
    app = tiny_bundle.copy_assets(bundle, tmp_path / "app")
    tiny_bundle.change(app, "tiny/full.tflite")
    (line,) = android.run("open", app, 9)
    assert line.startswith("refused: tiny/full.tflite is not the file of the bundle: its sha256 is")
