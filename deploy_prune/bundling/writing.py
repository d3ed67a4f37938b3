"""Writes a bundle: everything in its place, then the manifest that has the digest of each file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from deploy_prune.bundling.apps import APPS, Draft, Placed, VariantPlace, list_places
from deploy_prune.bundling.golden import IMAGES
from deploy_prune.bundling.manifest import (
    DIGEST,
    MANIFEST,
    SCHEMA_FILE,
    SIGNATURE,
    UNLISTED,
    Accuracy,
    FileRow,
    GoldenInputs,
    ImageInput,
    Manifest,
    Origin,
    Output,
    Variant,
    write_manifest,
    write_schema,
)
from deploy_prune.bundling.order import BundleOrder
from deploy_prune.bundling.readme import write_readme
from deploy_prune.bundling.signing import name_key
from deploy_prune.bundling.variant_files import describe_file
from deploy_prune.records import count_bytes, sha256
from deploy_prune.version import __version__

if TYPE_CHECKING:
    import numpy as np
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PIXELS, TAKEN = "golden/pixels.bin", "golden/input.bin"


def place_golden(
    pixels: np.ndarray, inputs: np.ndarray, answers: Mapping[str, Sequence[np.ndarray]], outputs: Sequence[Output]
) -> Iterator[Placed]:
    """The golden images as bytes and as the network takes them, and what each variant answers."""
    yield Placed(PIXELS, pixels.tobytes())
    yield Placed(TAKEN, inputs.astype("<f4").tobytes())
    for name, arrays in answers.items():
        for path, array in zip(_name_golden(name, outputs), arrays, strict=True):
            yield Placed(path, array.astype("<f4").tobytes())


def _name_golden(variant: str, outputs: Sequence[Output]) -> tuple[str, ...]:
    return tuple(f"golden/{variant}/{output.name}.bin" for output in outputs)


@dataclass(frozen=True)
class Writing:
    """A bundle that is about to be written."""

    draft: Draft
    taken: ImageInput
    outputs: tuple[Output, ...]
    order: BundleOrder
    key: Ed25519PrivateKey | None

    def write(self, folder: Path) -> None:
        """Write everything to a new folder, the manifest last."""
        apps = [APPS[app] for app in self.order.apps]
        places = [place for app in apps for place in list_places(app, self.draft)]
        for placed in (*self.draft.golden, *(each for app in apps for each in app.place(self.draft))):
            _put(folder, placed)
        for place in places:
            _put(folder, Placed(place.path, Path(place.file.artifact.path)))
        _put(folder, Placed(SCHEMA_FILE, write_schema()))
        manifest = self._describe(places)
        _put(folder, Placed("README.md", write_readme(manifest, self.order.apps).encode()))
        content = write_manifest(replace(manifest, files=_list_files(folder)))
        copies = [copy for app in apps for copy in app.manifests(self.draft)]
        for copy in ("", *(f"{copy}/" for copy in copies)):
            _put(folder, Placed(f"{copy}{MANIFEST}", content))
            if self.key:
                _put(folder, Placed(f"{copy}{SIGNATURE}", self.key.sign(content)))
        _put(folder, Placed(DIGEST, f"{sha256(folder / MANIFEST)}  {MANIFEST}\n".encode()))

    def _describe(self, places: Sequence[VariantPlace]) -> Manifest:
        """All but the files, which are still to be written."""
        first = next(iter(self.draft.variants.values()))
        return Manifest(
            schema=1,
            name=self.draft.name,
            deploy_prune=__version__,
            labels=first.form.labels,
            fallback=self.draft.fallback,
            signed_by=name_key(self.key) if self.key else "",
            input=self.taken,
            outputs=self.outputs,
            golden=GoldenInputs(IMAGES, PIXELS, TAKEN),
            groups=self.draft.groups,
            variants=tuple(self._describe_variant(name, places) for name in self.draft.variants),
            files=(),
        )

    def _describe_variant(self, name: str, places: Sequence[VariantPlace]) -> Variant:
        run = self.draft.variants[name]
        network, quality = run.files[0].artifact.network, run.quality
        return Variant(
            name=name,
            network=Origin(network.address, network.digest),
            accuracy=Accuracy(quality.name, quality.value, quality.interval, quality.items),
            licence=self.order.licence,
            weights=run.weights,
            golden=_name_golden(name, self.outputs),
            files=tuple(describe_file(place.file, place.path) for place in places if place.variant == name),
        )


def _put(folder: Path, placed: Placed) -> None:
    path = folder / placed.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(placed.content, bytes):
        path.write_bytes(placed.content)
    elif placed.content.is_dir():
        shutil.copytree(placed.content, path)
    else:
        shutil.copyfile(placed.content, path)


def _list_files(folder: Path) -> tuple[FileRow, ...]:
    files = sorted((file.relative_to(folder).as_posix(), file) for file in folder.rglob("*") if file.is_file())
    return tuple(FileRow(path, sha256(file), count_bytes(file)) for path, file in files if file.name not in UNLISTED)
