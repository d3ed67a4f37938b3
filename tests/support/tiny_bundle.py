"""A tiny bundle made by hand: odd sizes, odd constants, model files that stand-ins of a runtime can run."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

SHAPE = (3, 5, 7)
"""Channels, height, width."""
MEAN, STD = (0.4850001, 0.31, 0.4057), (0.229, 0.2239999, 0.17)
IMAGES = 200
NAME, LABELS = "tiny", ("ant", "bee", "cat", "dog")
RESOURCES = "ios/Sources/DeployPruneBundle/Resources"
ASSETS = "android/plain/src/main/assets"
TOP = ("bundle.json", "bundle.json.sha256", "bundle.json.sig")


@dataclass(frozen=True)
class Tiny:
    """A variant whose network picks one number per label out of its input, and multiplies it."""

    factor: float
    accuracy: float
    latency_ms: float
    baked: bool = False
    takes: str = "float32"


VARIANTS = {
    "full": Tiny(2.0, 0.98, 3.0),
    "half": Tiny(1.5, 0.97, 1.5, baked=True),
    "quarter": Tiny(0.5, 0.9, 0.5, baked=True, takes="uint8"),
}


def find_constants(mean: tuple[float, ...], std: tuple[float, ...]) -> tuple[list[float], list[float]]:
    """Give scale and shift, float32 each, as training computes them."""
    means, stds = np.array(mean, np.float32), np.array(std, np.float32)
    scale = np.float32(1) / (np.float32(255) * stds)
    return [float(each) for each in scale], [float(each) for each in means / stds]


def preprocess(pixels: np.ndarray, scale: list[float], shift: list[float]) -> np.ndarray:
    """uint8 (..., height, width, channels) -> float32 (..., channels, height, width), two roundings."""
    scaled = pixels.astype(np.float32) * np.array(scale, np.float32)
    return np.ascontiguousarray(np.moveaxis(scaled - np.array(shift, np.float32), -1, -3))


def draw_pixels(images: int = IMAGES, shape: tuple[int, int, int] = SHAPE, *, seed: int = 7) -> np.ndarray:
    """Draw uint8 (images, height, width, channels)."""
    channels, height, width = shape
    return np.random.default_rng(seed).integers(0, 256, (images, height, width, channels), dtype=np.uint8)


def pick(inputs: np.ndarray, factor: float) -> np.ndarray:
    """Answer as the tiny network does: channel k % 3, row k, column k + 1 for label k."""
    labels = np.arange(len(LABELS))
    return inputs[:, labels % SHAPE[0], labels, labels + 1] * np.float32(factor)


def write_bundle(folder: Path, *, sources: bool = True, changes: Mapping[str, Any] | None = None) -> Path:
    """Write the whole bundle.

    Args:
        folder: a new one.
        sources: whether the loaders lie in it, too.
        changes: what bundle.json says otherwise.
    """
    scale, shift = find_constants(MEAN, STD)
    pixels = draw_pixels()
    inputs = preprocess(pixels, scale, shift)
    golden = {"pixels.bin": pixels.tobytes(), "input.bin": inputs.astype("<f4").tobytes()}
    for name, tiny in VARIANTS.items():
        golden[f"{name}/output.bin"] = pick(inputs, tiny.factor).astype("<f4").tobytes()
    for place in ("golden", f"{RESOURCES}/golden", "android/loader/src/androidTest/assets/golden"):
        for name, content in golden.items():
            _put(folder / place / name, content)
    models = {name: _write_models(folder, name, tiny, (scale, shift)) for name, tiny in VARIANTS.items()}
    _put(folder / "README.md", b"A tiny bundle.\n")
    if sources:
        copy_sources(folder)
    manifest = {
        **describe(models, scale, shift),
        "files": [_list_file(folder, path) for path in _list_paths(folder)],
        **(changes or {}),
    }
    write_manifest(folder, manifest)
    return folder


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write bundle.json to all of its places."""
    for place in ("", f"{RESOURCES}/", f"{ASSETS}/{NAME}/"):
        _put(folder / f"{place}bundle.json", json.dumps(manifest, indent=1).encode())


def describe(models: Mapping[str, list[dict[str, Any]]], scale: list[float], shift: list[float]) -> dict[str, Any]:
    """Everything of bundle.json but its list of files."""
    return {
        "schema": 1,
        "name": NAME,
        "deploy_prune": "0.9.0",
        "labels": list(LABELS),
        "fallback": "half",
        "signed_by": "",
        "input": {"name": "input", "shape": list(SHAPE), "colors": "RGB", "scale": scale, "shift": shift},
        "outputs": [{"name": "output", "shape": [len(LABELS)]}],
        "golden": {"images": IMAGES, "pixels": "golden/pixels.bin", "input": "golden/input.bin"},
        "groups": [{"name": "Qualcomm_SM8750", "variant": "full"}],
        "variants": [describe_variant(name, VARIANTS[name].accuracy, files) for name, files in models.items()],
    }


def describe_variant(name: str, accuracy: float, files: list[dict[str, Any]]) -> dict[str, Any]:
    """A variant's row."""
    return {
        "name": name,
        "network": {"address": "tiny", "digest": name},
        "accuracy": {"metric": "top1", "value": accuracy, "interval": [0.0, 1.0], "images": 450},
        "licence": "not stated",
        "weights": "trained here",
        "golden": [f"golden/{name}/output.bin"],
        "files": files,
    }


def describe_file(path: str, format_: str, content: str, latency: list[tuple[str, float, str]]) -> dict[str, Any]:
    """A file's row; `latency` are (device, value, unit)."""
    rows = [
        {"device": device, "runtime_version": "1", "threads": 1, "value": value, "interval": [value, value],
         "unit": unit, "load": None, "frequency_mhz": 2596.1, "governor": None, "temperature_c": None}
        for device, value, unit in latency
    ]  # fmt: skip
    return {
        "path": path, "format": format_, "runtime": format_, "precision": "fp32", "size_bytes": 1, "sha256": content,
        "layout": "nhwc" if format_ == "tflite" else "nchw", "takes": "float32", "baked": False, "gives": "scores",
        "needs": {"TensorFlow Lite": "2.0.0"}, "tolerance": 0.0001, "max_error": 7e-07, "delegated": None,
        "latency": rows,
    }  # fmt: skip


def digest_folder(folder: Path) -> str:
    """Hash a format that is a folder: path, NUL, size, NUL, content of its files in the order of their paths."""
    whole = hashlib.sha256()
    for path in sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()):
        content = (folder / path).read_bytes()
        whole.update(f"{path}\0{len(content)}\0".encode() + content)
    return whole.hexdigest()


def copy_sources(folder: Path) -> None:
    """Copy the loaders to where they lie in a bundle."""
    app = resources.files("deploy_prune.bundling").joinpath("app")
    package = "kotlin/com/deployprune"
    places = {
        "android/Bundle.kt": f"android/loader/src/main/{package}/Bundle.kt",
        "android/AndroidModel.kt": f"android/loader/src/main/{package}/AndroidModel.kt",
        "android/GoldenPairTest.kt": f"android/loader/src/androidTest/{package}/GoldenPairTest.kt",
        "ios/Package.swift": "ios/Package.swift",
    }
    for each in ("Sources", "Tests"):
        target = {"Sources": "DeployPruneBundle", "Tests": "DeployPruneBundleTests"}[each]
        for source in app.joinpath("ios", each).iterdir():
            places[f"ios/{each}/{source.name}"] = f"ios/{each}/{target}/{source.name}"
    for source, place in places.items():
        _put(folder / place, app.joinpath(source).read_bytes())


def _write_models(
    folder: Path, name: str, tiny: Tiny, constants: tuple[list[float], list[float]]
) -> list[dict[str, Any]]:
    """Write a variant in its formats, the AI pack's copies too, and give their rows."""
    channels, height, width = SHAPE
    words = ["tiny", tiny.factor, height, width, channels, tiny.takes if tiny.baked else "ready"]
    words += [number for numbers in constants for number in numbers]
    content = " ".join(map(str, words)).encode()
    latency = [("phone", tiny.latency_ms, "ms")]
    flat = f"{ASSETS}/{NAME}/{name}.tflite"
    _put(folder / flat, content)
    pack = f"android/ai_packs/{NAME}/src/main/assets"
    for variant, group in (("full", "Qualcomm_SM8750"), ("half", "other")):
        if variant == name:
            _put(folder / pack / f"model#group_{group}" / f"{NAME}.tflite", content)
    package = f"{RESOURCES}/{name}.mlpackage"
    _put(folder / package / "Manifest.json", b"{}")
    _put(folder / package / "Data/weights/b.bin", name.encode() * 50_000)
    _put(folder / package / "Data/a.bin", content)
    rows = [
        describe_file(flat, "tflite", hashlib.sha256(content).hexdigest(), latency),
        describe_file(package, "coreml", digest_folder(folder / package), latency),
    ]
    return [{**row, "baked": tiny.baked, "takes": tiny.takes} for row in rows]


def _list_paths(folder: Path) -> list[str]:
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return [path for path in paths if path.rpartition("/")[2] not in TOP]


def _list_file(folder: Path, path: str) -> dict[str, Any]:
    content = (folder / path).read_bytes()
    return {"path": path, "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_cases(folder: Path, count: int = 200) -> None:
    """Write random images of odd sizes and constants for loaders to preprocess.

    `cases.json` has a row per image, `pixels.bin` all of their bytes, `expected.bin` float32 per image: channels first,
    then channels last.
    """
    draw = np.random.default_rng(11)
    rows, pixels, expected = [], b"", b""
    for seed in range(count):
        shape = (int(draw.choice([1, 3, 4])), *(int(each) for each in draw.integers(1, 20, 2)))
        mean, std = draw.uniform(0, 1, shape[0]), draw.uniform(0.05, 0.9, shape[0])
        scale, shift = find_constants(tuple(mean), tuple(std))
        (image,) = draw_pixels(1, shape, seed=seed)
        taken = preprocess(image, scale, shift)
        rows.append({"name": "input", "shape": shape, "scale": scale, "shift": shift})
        pixels += image.tobytes()
        expected += taken.astype("<f4").tobytes() + np.moveaxis(taken, 0, -1).astype("<f4").tobytes()
    _put(folder / "cases.json", json.dumps(rows).encode())
    _put(folder / "pixels.bin", pixels)
    _put(folder / "expected.bin", expected)


def write_choices(table: Path, target: Path) -> list[list[str]]:
    """Write the table of choices with a whole bundle.json per row, as a text; returns which orders are right."""
    rows = json.loads(table.read_text())
    cases = []
    for row in rows:
        models = {
            name: [
                describe_file(f"{name}.bin", each.get("format", "tflite"), "0" * 64, [tuple(ms) for ms in each["rows"]])
            ]
            for name, each in row["variants"].items()
        }
        manifest = {**describe({}, *find_constants(MEAN, STD)), "files": [], "groups": []}
        manifest["variants"] = [
            describe_variant(name, row["variants"][name]["accuracy"], files) for name, files in models.items()
        ]
        manifest["fallback"] = row.get("fallback", next(iter(models)))
        cases.append({"bundle": json.dumps(manifest), **{key: row[key] for key in ("budget_ms", "device", "order")}})
    target.write_text(json.dumps(cases))
    return [row["order"] for row in rows]


def change(folder: Path, path: str) -> None:
    """Change one byte of a file."""
    content = bytearray((folder / path).read_bytes())
    content[-1] ^= 1
    (folder / path).write_bytes(content)


def copy_assets(bundle: Path, target: Path, *, group: str | None = None, plain: bool = True) -> Path:
    """Lay a bundle's assets out as an app has them; `group`: with what Play delivers to that group of devices."""
    if plain:
        shutil.copytree(bundle / ASSETS, target, dirs_exist_ok=True)
    if group:
        pack = bundle / f"android/ai_packs/{NAME}/src/main/assets/model#group_{group}"
        shutil.copytree(pack, target / "model")
        shutil.copy(bundle / "bundle.json", target)
    return target
