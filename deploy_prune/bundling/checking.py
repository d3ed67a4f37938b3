"""Whether a bundle is whole: every byte of it, its signature, and its golden pairs on every runtime that is here."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from deploy_prune import plugins
from deploy_prune.bundling.golden import answer, measure_error, preprocess
from deploy_prune.bundling.manifest import (
    DIGEST,
    MANIFEST,
    SIGNATURE,
    UNLISTED,
    Manifest,
    Variant,
    VariantFile,
    read_manifest,
)
from deploy_prune.bundling.signing import is_signed_by, read_public_key
from deploy_prune.errors import DeployPruneError, InputError, MissingDependency, NotVerifiable
from deploy_prune.records import count_bytes, sha256
from deploy_prune.timing.runtimes import RUNTIMES
from deploy_prune.values import Progress, quiet

if TYPE_CHECKING:
    import numpy as np

ANEW = "do not ship it; make the bundle anew, or copy it again"


@dataclass(frozen=True)
class GoldenRow:
    """A variant's file on the golden images."""

    variant: str
    path: str
    runtime: str
    status: Literal["same", "different", "not run"]
    error: float | None = None
    """The largest difference, as a share of the largest output."""
    reason: str = ""
    """Why it was not run, or what is different."""


@dataclass(frozen=True)
class BundleCheck:
    """What was found in a bundle every byte of which is as it was made."""

    name: str
    files: int
    """How many files were read."""
    signed_by: str
    """The public key of its signature, in hex; empty: it has none."""
    rows: tuple[GoldenRow, ...]

    @property
    def passed(self) -> bool:
        """Whether no file answers otherwise than it should, and at least one was asked."""
        statuses = {row.status for row in self.rows}
        return "different" not in statuses and "same" in statuses


def check_bundle(folder: Path, *, key: Path | None = None, progress: Progress = quiet) -> BundleCheck:
    """Check a bundle.

    Args:
        folder: the bundle.
        key: the public key (PEM) that it must be signed by; None: a signature only has to fit the key that it names.
        progress: told after each variant's file.

    Raises:
        InputError: a file was changed, added or lost, by its name; or it is not signed by that key.
        RecordError: the manifest is damaged.
        MissingDependency: nothing here checks signatures.
    """
    _check_digest(folder)
    manifest = read_manifest(folder)
    _check_signature(folder, manifest, read_public_key(key) if key else None)
    _check_files(folder, manifest)
    pixels, taken = _read_inputs(folder, manifest)
    pairs = [(variant, file) for variant in manifest.variants for file in variant.files]
    rows = []
    for number, (variant, file) in enumerate(pairs):
        rows.append(_run(folder, manifest, variant, file, (pixels, taken)))
        progress("golden pairs", number + 1, len(pairs))
    return BundleCheck(manifest.name, len(manifest.files), manifest.signed_by, tuple(rows))


def _check_digest(folder: Path) -> None:
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(f"{folder} is no bundle: it has no {MANIFEST}", hint="make one with `deploy-prune bundle`")
    said = (folder / DIGEST).read_bytes() if (folder / DIGEST).is_file() else b""
    if not hmac.compare_digest(said, f"{sha256(path)}  {MANIFEST}\n".encode()):
        raise InputError(f"{path} is not what {DIGEST} says", hint=ANEW)


def _check_signature(folder: Path, manifest: Manifest, wanted: str | None) -> None:
    if wanted is not None and manifest.signed_by != wanted:
        who = f"by another key, {manifest.signed_by}" if manifest.signed_by else "by nobody"
        raise InputError(f"{folder} is signed {who}", hint="ask who made it for the key, or make it anew with --sign")
    path = folder / SIGNATURE
    if not manifest.signed_by:
        if path.exists():
            raise InputError(f"{path} is there, but the bundle says that it is not signed", hint=ANEW)
        return
    signature = path.read_bytes() if path.is_file() else b""
    if not is_signed_by(manifest.signed_by, signature, (folder / MANIFEST).read_bytes()):
        raise InputError(f"{path} does not sign this {MANIFEST}", hint=ANEW)


def _check_files(folder: Path, manifest: Manifest) -> None:
    rows = {row.path: row for row in manifest.files}
    for path, file in _list_all(folder):
        if file.is_symlink():
            raise InputError(f"{file} is a link, which may lead out of the bundle", hint=ANEW)
        if file.name in UNLISTED:
            if file.read_bytes() != _read_top(folder, file.name):
                raise InputError(f"{file} is not that of the bundle", hint=ANEW)
        elif (row := rows.pop(path, None)) is None:
            raise InputError(f"{file} is no part of the bundle", hint="remove it, or make the bundle anew")
        elif (sha256(file), count_bytes(file)) != (row.sha256, row.size_bytes):
            raise InputError(f"{file} has changed since the bundle was made", hint=ANEW)
    if rows:
        raise InputError(f"{folder / min(rows)} is not there", hint=ANEW)
    for place in (place for variant in manifest.variants for place in variant.files):
        if sha256(folder / place.path) != place.sha256:
            raise InputError(f"{folder / place.path} is not the file that was verified", hint=ANEW)


def _list_all(folder: Path) -> Iterator[tuple[str, Path]]:
    for file in sorted(folder.rglob("*")):
        if file.is_symlink() or not file.is_dir():
            yield file.relative_to(folder).as_posix(), file


def _read_top(folder: Path, name: str) -> bytes:
    path = folder / name
    return path.read_bytes() if path.is_file() else b""


def _read_inputs(folder: Path, manifest: Manifest) -> tuple[np.ndarray, np.ndarray]:
    """The golden images, and what preprocessing makes of them here, which must be what the bundle has."""
    import numpy as np

    golden, (channels, height, width) = manifest.golden, manifest.input.shape
    shape = (golden.images, height, width, channels)
    pixels = _read_array(folder / golden.pixels, "u1", shape)
    taken = preprocess(pixels, manifest.input)
    told = _read_array(folder / golden.input, "<f4", taken.shape)
    if not np.array_equal(taken, told):
        hint = "of which version is it? Make the bundle anew"
        raise InputError(f"{folder / golden.input} is not what becomes of {golden.pixels}", hint=hint)
    return pixels, taken


def _read_array(path: Path, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    import numpy as np

    content = path.read_bytes()
    if len(content) != np.dtype(dtype).itemsize * int(np.prod(shape)):
        raise InputError(f"{path} does not hold {'x'.join(map(str, shape))} numbers", hint=ANEW)
    return np.frombuffer(content, dtype).reshape(shape)


def _run(
    folder: Path, manifest: Manifest, variant: Variant, file: VariantFile, images: tuple[np.ndarray, np.ndarray]
) -> GoldenRow:
    asked = (variant.name, file.path, file.runtime)
    if file.runtime not in plugins.list_names(RUNTIMES):
        return GoldenRow(*asked, "not run", reason=f"this version knows no runtime '{file.runtime}'")
    pixels, taken = images
    pairs = zip(variant.golden, manifest.outputs, strict=True)
    expected = [_read_array(folder / path, "<f4", (manifest.golden.images, *output.shape)) for path, output in pairs]
    try:
        answers = answer(folder / file.path, file.runtime, pixels=pixels, taken=taken, layout=file.layout,
                         baked=file.baked)  # fmt: skip
        error = measure_error(answers, expected)
    except (MissingDependency, NotVerifiable) as failure:
        return GoldenRow(*asked, "not run", reason=failure.message)
    except DeployPruneError as failure:
        return GoldenRow(*asked, "different", reason=failure.message)
    # both it and the file that the golden outputs are of may be off by as much
    same = error <= 2 * file.tolerance
    return GoldenRow(*asked, "same" if same else "different", error, "" if same else f"limit {2 * file.tolerance:g}")
