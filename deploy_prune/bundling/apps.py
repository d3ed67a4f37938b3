"""Where everything lies in the forms that apps take: an Android module and pack, a Swift package."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from deploy_prune.bundling.manifest import MANIFEST, Group
from deploy_prune.bundling.runs import BundledFile, BundledRun
from deploy_prune.bundling.soc_groups import OTHER, write_targeting

PACKED = "tflite"
"""The format that an AI pack delivers."""
ASSETS = "src/main/assets"
SWIFT = "ios/Sources/DeployPruneBundle"


@dataclass(frozen=True)
class Placed:
    """A file, or a folder where that is the format, and its place in the bundle."""

    path: str
    content: bytes | Path


@dataclass(frozen=True)
class VariantPlace:
    """Where a variant lies in one of its formats."""

    variant: str
    file: BundledFile
    path: str


@dataclass(frozen=True)
class Draft:
    """What goes into a bundle."""

    name: str
    variants: Mapping[str, BundledRun]
    """Name -> the run; the first is the fallback."""
    groups: tuple[Group, ...]
    golden: tuple[Placed, ...]
    formats: tuple[str, ...] | None = None
    """None: those that each kind of app usually takes."""

    @property
    def fallback(self) -> str:
        """The variant for whatever no group names."""
        return next(iter(self.variants))


@dataclass(frozen=True)
class App:
    """One kind of app."""

    formats: tuple[str, ...]
    """Those that it is given, where nobody names others."""
    runnable: tuple[str, ...]
    """All that it can run."""
    find_place: Callable[[Draft, str, str], str]
    """(draft, variant, suffix) -> where a variant lies."""
    place: Callable[[Draft], Iterator[Placed]]
    """What lies around the variants."""
    manifests: Callable[[Draft], tuple[str, ...]]
    """The folders that a copy of the manifest lies in."""


def list_places(app: App, draft: Draft) -> list[VariantPlace]:
    """Where all variants lie in one kind of app."""
    wanted = app.formats if draft.formats is None else draft.formats
    return [
        VariantPlace(name, file, app.find_place(draft, name, Path(file.artifact.path).suffix))
        for name, run in draft.variants.items()
        for file in run.files
        if file.artifact.format in wanted and file.artifact.format in app.runnable
    ]


# --- Android -----------------------------------------------------------------------------------------------------


def _find_android_place(draft: Draft, variant: str, suffix: str) -> str:
    return f"android/plain/{ASSETS}/{draft.name}/{variant}{suffix}"


def _find_pack(draft: Draft) -> str:
    return f"android/ai_packs/{draft.name}"


def _place_android(draft: Draft) -> Iterator[Placed]:
    files = {name: _find_file(run.files, PACKED) for name, run in draft.variants.items()}
    packed = {**{group.name: group.variant for group in draft.groups}, OTHER: draft.fallback}
    if all(files[variant] for variant in packed.values()):
        names = [group.name for group in draft.groups]
        yield Placed("android/device_targeting_configuration.xml", write_targeting(names).encode())
        yield Placed(f"{_find_pack(draft)}/build.gradle.kts", _fill("android/build.gradle.kts", draft).encode())
        for group, variant in packed.items():
            file = files[variant]
            assert file
            folder = f"{_find_pack(draft)}/{ASSETS}/model#group_{group}"
            yield Placed(f"{folder}/{draft.name}.tflite", Path(file.artifact.path))
    loader = "android/loader/src"
    for source in ("Bundle.kt", "AndroidModel.kt"):
        yield Placed(f"{loader}/main/kotlin/com/deployprune/{source}", _read(f"android/{source}"))
    test = "GoldenPairTest.kt"
    yield Placed(f"{loader}/androidTest/kotlin/com/deployprune/{test}", _read(f"android/{test}"))
    for each in draft.golden:
        yield Placed(f"{loader}/androidTest/assets/{each.path}", each.content)


def _find_file(files: Sequence[BundledFile], format_: str) -> BundledFile | None:
    return next((each for each in files if each.artifact.format == format_), None)


def _find_android_manifests(draft: Draft) -> tuple[str, ...]:
    packed = any(_find_file(run.files, PACKED) for run in draft.variants.values())
    return (f"android/plain/{ASSETS}/{draft.name}", *([f"{_find_pack(draft)}/{ASSETS}"] if packed else []))


# --- iOS ---------------------------------------------------------------------------------------------------------


def _find_ios_place(draft: Draft, variant: str, suffix: str) -> str:
    del draft
    return f"{SWIFT}/Resources/{variant}{suffix}"


def _place_ios(draft: Draft) -> Iterator[Placed]:
    yield Placed("ios/Package.swift", _read("ios/Package.swift"))
    for place, folder in (("Sources", SWIFT), ("Tests", "ios/Tests/DeployPruneBundleTests")):
        for source in sorted(resources.files(__package__).joinpath("app", "ios", place).iterdir(), key=str):
            yield Placed(f"{folder}/{source.name}", source.read_bytes())
    for each in draft.golden:
        yield Placed(f"{SWIFT}/Resources/{each.path}", each.content)
    selectors = [_select(place) for place in list_places(APPS["ios"], draft)]
    asset_pack = {
        "assetPackID": draft.name,
        "downloadPolicy": {"onDemand": {}},
        "fileSelectors": [{"file": f"Resources/{MANIFEST}"}, *selectors],
        "platforms": ["iOS"],
    }
    yield Placed("ios/BackgroundAssets/manifest.json", (json.dumps(asset_pack, indent=2) + "\n").encode())


def _select(place: VariantPlace) -> dict[str, str]:
    kind = "directory" if Path(place.file.artifact.path).is_dir() else "file"
    return {kind: f"Resources/{Path(place.path).name}"}


def _find_ios_manifests(draft: Draft) -> tuple[str, ...]:
    del draft
    return (f"{SWIFT}/Resources",)


# --- both --------------------------------------------------------------------------------------------------------


def _read(name: str) -> bytes:
    return resources.files(__package__).joinpath("app", *name.split("/")).read_bytes()


def _fill(name: str, draft: Draft) -> str:
    return Template(_read(name).decode()).substitute(name=draft.name)


APPS: Mapping[str, App] = {
    "android": App(
        ("tflite",), ("tflite", "onnx", "executorch"), _find_android_place, _place_android, _find_android_manifests
    ),
    "ios": App(
        ("coreml", "coreai"), ("coreml", "coreai", "tflite", "onnx", "executorch"), _find_ios_place, _place_ios,
        _find_ios_manifests,
    ),
}  # fmt: skip
"""The kinds of apps, and how a bundle lies before them."""
