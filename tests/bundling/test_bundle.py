"""Bundles are made of verified runs alone, all at once, and hold what every app needs where it looks for it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from bundled import CLASSES, FORM, SHAPE, make_run
from tinyrun import config, written

from deploy_prune.bundling.bundle import bundle
from deploy_prune.bundling.checking import check_bundle
from deploy_prune.bundling.manifest import MANIFEST, UNLISTED, Manifest
from deploy_prune.bundling.order import BundleOrder
from deploy_prune.errors import ConfigError, InputError, RecordError, StorageError
from deploy_prune.records import sha256
from deploy_prune.values import Normalisation, quiet


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """A wide and a narrow one."""
    return make_run(tmp_path / "wide", seed=1, accuracy=0.9), make_run(tmp_path / "narrow", seed=2, accuracy=0.8)


def make(runs: tuple[Path, ...], out: Path, **rest: object) -> Manifest:
    return bundle(BundleOrder(runs, **{"formats": ("onnx",), **rest}), out)  # type: ignore[arg-type]


def test_a_bundle_says_of_every_variant_what_its_run_knows(runs: tuple[Path, Path], tmp_path: Path) -> None:
    manifest = make(
        runs, tmp_path / "out", name="animals", licence="Apache-2.0", groups=(("Google_Tensor_G3", runs[1]),)
    )
    assert [each.name for each in manifest.variants] == ["wide", "narrow"]
    assert manifest.labels == CLASSES and manifest.fallback == "wide" and manifest.input.shape == SHAPE
    assert [(group.name, group.variant) for group in manifest.groups] == [("Google_Tensor_G3", "narrow")]
    wide = manifest.variant("wide")
    assert wide.accuracy.value == 0.9 and wide.accuracy.images == 400 and wide.licence == "Apache-2.0"
    (latency,) = wide.files[0].latency
    assert (latency.value, latency.unit, latency.threads, latency.device) == (1.01, "ms", 1, "local")
    assert wide.files[0].needs == {"ONNX Runtime": "1.14"}


def test_every_file_but_the_manifest_is_listed_and_copies_of_it_are_the_same(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    manifest, out = make(runs, tmp_path / "out"), tmp_path / "out"
    files = {file.relative_to(out).as_posix(): file for file in out.rglob("*") if file.is_file()}
    listed = {path for path, file in files.items() if file.name not in UNLISTED}
    assert {row.path: row.sha256 for row in manifest.files} == {path: sha256(files[path]) for path in listed}
    copies = [file for file in files.values() if file.name == MANIFEST]
    assert len(copies) == 3 and len({file.read_bytes() for file in copies}) == 1


def test_golden_outputs_are_those_of_the_file(runs: tuple[Path, Path], tmp_path: Path) -> None:
    import onnxruntime

    manifest, out = make(runs, tmp_path / "out"), tmp_path / "out"
    inputs = np.fromfile(out / manifest.golden.input, "<f4").reshape(-1, *SHAPE)
    session = onnxruntime.InferenceSession(runs[1] / "export-1" / "pruned.onnx")
    expected = np.concatenate([session.run(None, {"input": each[None]})[0] for each in inputs])
    told = np.fromfile(out / manifest.variant("narrow").golden[0], "<f4").reshape(-1, len(CLASSES))
    assert np.abs(told - expected).max() < 1e-4


def test_the_same_runs_give_the_same_bytes(runs: tuple[Path, Path], tmp_path: Path) -> None:
    make(runs, tmp_path / "one")
    make(runs, tmp_path / "two")
    assert sha256(tmp_path / "one") == sha256(tmp_path / "two")


def test_a_bundle_is_replaced_and_nothing_else_is(runs: tuple[Path, Path], tmp_path: Path) -> None:
    make(runs, tmp_path / "out")
    make(runs[:1], tmp_path / "out")
    assert len(json.loads((tmp_path / "out" / MANIFEST).read_text())["variants"]) == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(StorageError, match="no bundle"):
        make(runs, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("order", "told"),
    [
        ({"runs": ()}, "no run"),
        ({"name": "my app"}, "is no name of a bundle"),
        ({"apps": ("windows",)}, "no app 'windows'"),
        ({"formats": ("gguf",)}, "runs 'gguf' files"),
        ({"groups": (("Qualcomm_SM8750", Path("elsewhere")),)}, "which is not in the bundle"),
    ],
)
def test_orders_that_cannot_be_are_refused(tmp_path: Path, order: dict[str, object], told: str) -> None:
    whole = {"runs": (make_run(tmp_path / "run"),), "formats": ("onnx",), **order}
    with pytest.raises(ConfigError, match=told):
        bundle(BundleOrder(**whole), tmp_path / "out")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_runs_that_nobody_has_verified_or_that_changed_are_refused_by_name(tmp_path: Path) -> None:
    bad = make_run(tmp_path / "bad", status="exported")
    with pytest.raises(InputError, match=r"the onnx file of .*bad was not verified"):
        make((bad,), tmp_path / "out")
    changed = make_run(tmp_path / "changed", seed=3)
    with (changed / "export-1" / "pruned.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match=r"changed/export-1/pruned.onnx is not what was verified"):
        make((changed,), tmp_path / "out")
    unfinished = make_run(tmp_path / "unfinished", seed=4)
    (unfinished / "summary.json").unlink()
    with pytest.raises(RecordError, match=r"unfinished/summary.json"):
        make((unfinished,), tmp_path / "out")
    with pytest.raises(InputError, match="no file in any of these formats: tflite"):
        bundle(BundleOrder((make_run(tmp_path / "good", seed=5),), apps=("android",)), tmp_path / "out")


def test_labels_that_are_too_few_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", form=dataclasses.replace(FORM, labels=CLASSES[:3]))
    with pytest.raises(InputError, match="knows 3 labels, and its network gives 4 scores"):
        make((run,), tmp_path / "out")


def test_an_app_without_a_file_of_a_variant_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", format_="tflite")
    with pytest.raises(InputError, match="has no coreml or coreai file, which the ios app would run"):
        bundle(BundleOrder((run,)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_runs_of_different_tasks_and_a_network_twice_are_refused(runs: tuple[Path, Path], tmp_path: Path) -> None:
    form = dataclasses.replace(FORM, normalisation=Normalisation((0.5,) * 3, (0.5,) * 3))
    other = make_run(tmp_path / "other", seed=6, form=form)
    with pytest.raises(InputError, match="they differ in their mean and std"):
        make((runs[0], other), tmp_path / "out")
    labelled = make_run(tmp_path / "labelled", seed=7, form=dataclasses.replace(FORM, labels=("a", "b", "c", "d")))
    with pytest.raises(InputError, match="they differ in their labels"):
        make((runs[0], labelled), tmp_path / "out")
    shutil.copytree(runs[0], tmp_path / "copy")
    with pytest.raises(InputError, match="are the same network"):
        make((*runs, tmp_path / "copy"), tmp_path / "out")
    (tmp_path / "again").mkdir()
    shutil.copytree(runs[1], tmp_path / "again" / "wide")
    with pytest.raises(ConfigError, match="two runs are called 'wide'"):
        make((runs[0], tmp_path / "again" / "wide"), tmp_path / "out")


def test_a_run_without_a_known_normalisation_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", form=dataclasses.replace(FORM, normalisation=None))
    with pytest.raises(ConfigError, match="is not known"):
        make((run,), tmp_path / "out")


@pytest.mark.heavy
def test_a_real_run_becomes_a_bundle_for_both_apps_whose_golden_pairs_all_runtimes_answer_alike(tmp_path: Path) -> None:
    from deploy_prune.pipeline.run import prune

    folder = written(tmp_path)
    settings = config(folder, budget="0.5x", method="magnitude", targets=("tflite", "coreml"), threads=(1,))
    prune(settings, tmp_path / "half", progress=quiet)
    order = BundleOrder((tmp_path / "half",), "tiny", groups=(("Qualcomm_SM8750", tmp_path / "half"),))
    manifest = bundle(order, tmp_path / "out")
    places = {file.format: file for file in manifest.variants[0].files}
    assert set(places) == {"tflite", "coreml"}
    delegated = places["tflite"].delegated
    assert delegated and 0 < delegated.taken <= delegated.operators and places["tflite"].latency
    pack = tmp_path / "out/android/ai_packs/tiny/src/main/assets"
    for group in ("Qualcomm_SM8750", "other"):
        assert sha256(pack / f"model#group_{group}" / "tiny.tflite") == places["tflite"].sha256
    assert (tmp_path / "out" / places["coreml"].path / "Manifest.json").is_file()
    hosted = json.loads((tmp_path / "out/ios/BackgroundAssets/manifest.json").read_text())["fileSelectors"]
    assert hosted == [{"file": "Resources/bundle.json"}, {"directory": "Resources/half.mlpackage"}]
    readme = (tmp_path / "out" / "README.md").read_text()
    assert 'include(":ai_packs:tiny")' in readme and "import DeployPruneBundle" in readme
    result = check_bundle(tmp_path / "out")
    assert result.passed and [row.status for row in result.rows] == ["same", "same"]
    assert max(row.error or 0 for row in result.rows) < 1e-5
