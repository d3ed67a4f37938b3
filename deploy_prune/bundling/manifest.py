"""What `bundle.json` says: the values, their reading and writing. Loaders in other languages read the same."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from deploy_prune.bounded import parse_json, read_text
from deploy_prune.errors import RecordError
from deploy_prune.records import explain_misfit, to_json
from deploy_prune.values import Interval, Layout

MANIFEST = "bundle.json"
DIGEST = f"{MANIFEST}.sha256"
"""Holds the digest of the manifest, as `sha256sum --check` reads it."""
SIGNATURE = f"{MANIFEST}.sig"
"""Holds the 64 bytes of its ed25519 signature, if there is one."""
UNLISTED = (MANIFEST, DIGEST, SIGNATURE)
"""The files that the manifest cannot hold the digests of; those in folders below are copies of those at the top."""
SCHEMA_FILE = "bundle.schema.json"


def check_path(path: str) -> str:
    """Refuse a path that could lead out of the bundle, on any system that reads it."""
    parts = PurePosixPath(path).parts
    if not path or path != "/".join(parts) or path.startswith("/") or {"..", "."} & set(parts):
        raise ValueError(f"'{path}' is no path inside the bundle")
    if re.search(r"[\\:\x00-\x1f\x7f]", path):
        raise ValueError(f"'{path}' is no path on every system")
    return path


InnerPath = Annotated[str, AfterValidator(check_path)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
"""A variant's name, which is part of file names."""
PackName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]


@dataclass(frozen=True)
class ImageInput:
    """What every variant takes, and how pixels become it: pixel * scale - shift, each step rounded to float32."""

    name: str
    shape: tuple[int, int, int]
    """Channels, height, width."""
    colors: str
    """The order of the channels, such as "RGB"."""
    scale: tuple[float, ...]
    """A float32 per channel, of pixels from 0 to 255."""
    shift: tuple[float, ...]
    """A float32 per channel."""


@dataclass(frozen=True)
class Output:
    """What every variant gives."""

    name: Name
    shape: tuple[int, ...]
    """The shape without the batch axis."""


@dataclass(frozen=True)
class GoldenInputs:
    """The images that every variant was run on."""

    images: int
    pixels: InnerPath
    """uint8, images x height x width x channels."""
    input: InnerPath
    """float32, little-endian, images x channels x height x width: what preprocessing makes of the pixels, bit for
    bit."""


@dataclass(frozen=True)
class Latency:
    """What a file takes on a device, and around what it was measured."""

    device: str
    """The fingerprint of the device."""
    runtime_version: str
    threads: int
    value: float
    """The median, in `unit`."""
    interval: Interval
    """The 95 % interval of the value."""
    unit: str
    load: float | None
    frequency_mhz: float | None
    governor: str | None
    temperature_c: float | None


@dataclass(frozen=True)
class Delegated:
    """How many operators a delegate takes, on the machine that made the bundle."""

    delegate: str
    taken: int
    operators: int
    partitions: int


@dataclass(frozen=True)
class VariantFile:
    """A variant in one format, at one place of the bundle."""

    path: InnerPath
    format: str
    runtime: str
    """The runtime plugin that runs it here."""
    precision: str
    size_bytes: int
    sha256: Sha256
    """The digest; a folder's is over the names, sizes and contents of its files, as `records.sha256` does."""
    layout: Layout
    takes: Literal["float32", "uint8"]
    baked: bool
    """Whether it takes pixels from 0 to 255 as they are."""
    gives: Literal["scores", "probabilities"]
    needs: dict[str, str]
    """Runtime or system -> the oldest version that runs it."""
    tolerance: float
    """The relative error that is allowed to its outputs."""
    max_error: float
    """The one that it was verified with."""
    delegated: Delegated | None
    latency: tuple[Latency, ...]


@dataclass(frozen=True)
class Accuracy:
    """How good a variant is on images that nothing was chosen by."""

    metric: str
    value: float
    interval: Interval
    """The 95 % interval of the value."""
    images: int


@dataclass(frozen=True)
class Origin:
    """Which network a variant is."""

    address: str
    digest: str


@dataclass(frozen=True)
class Variant:
    """One width of the network, in all its formats."""

    name: Name
    network: Origin
    accuracy: Accuracy
    licence: str
    weights: str
    """Where they came from."""
    golden: tuple[InnerPath, ...]
    """What it answers to the golden images: a file of float32 per output, little-endian."""
    files: tuple[VariantFile, ...]


@dataclass(frozen=True)
class Group:
    """The devices of one system-on-chip, and what they are sent."""

    name: str
    """What an AI pack calls them, such as "Qualcomm_SM8750"."""
    variant: str


@dataclass(frozen=True)
class FileRow:
    """A file of the bundle."""

    path: InnerPath
    sha256: Sha256
    size_bytes: int


@dataclass(frozen=True)
class Manifest:
    """Everything that a loader needs to know."""

    schema: Literal[1]
    name: PackName
    deploy_prune: str
    """The version that wrote it."""
    labels: tuple[str, ...]
    fallback: str
    """The variant for whatever no group names."""
    signed_by: str
    """The public key of the signature, in hex; empty: there is none."""
    input: ImageInput
    outputs: tuple[Output, ...]
    golden: GoldenInputs
    groups: tuple[Group, ...]
    variants: tuple[Variant, ...]
    files: tuple[FileRow, ...]
    """Every file but the manifest, its digest and its signature, in the order of their paths."""

    def variant(self, name: str) -> Variant:
        """The variant of that name, which there is."""
        return next(each for each in self.variants if each.name == name)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a bundle.

    Raises:
        RecordError: it is missing or damaged, of another schema, or says what cannot be.
    """
    path = folder / MANIFEST
    try:
        manifest = TypeAdapter(Manifest).validate_python(parse_json(read_text(path)))
    except FileNotFoundError as error:
        raise RecordError(f"{path} does not exist", hint="is this a bundle?") from error
    except ValidationError as error:
        hint = "is it edited, or of another version? Make the bundle anew"
        raise RecordError(f"{path} is no manifest of a bundle: {explain_misfit(error)}", hint=hint) from error
    except (ValueError, OSError) as error:
        raise RecordError(f"{path} is damaged: {error}", hint="make the bundle anew") from error
    names = {each.name for each in manifest.variants}
    if lost := [name for name in (manifest.fallback, *(each.variant for each in manifest.groups)) if name not in names]:
        raise RecordError(f"{path} names the variant '{lost[0]}', which it has not", hint="make the bundle anew")
    return manifest


def write_manifest(manifest: Manifest) -> bytes:
    """The text of a manifest; the same values give the same bytes."""
    return (json.dumps(to_json(manifest), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_schema() -> bytes:
    """The JSON schema of a manifest."""
    schema: dict[str, Any] = TypeAdapter(Manifest).json_schema()
    return (json.dumps(schema, indent=1, sort_keys=True) + "\n").encode()
