"""Opens a saved .mlpackage: a folder with a manifest, the specification and the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy_prune.bounded import parse_json, read_text
from deploy_prune.errors import InputError
from deploy_prune.formats.mil.about import About, decode_about
from deploy_prune.formats.mil.program import Program, read_program
from deploy_prune.formats.mil.weight_blob import check_weights
from deploy_prune.formats.protobuf import Malformed

MANIFEST = "Manifest.json"
ROOT = Path("com.apple.CoreML")
WEIGHTS = ROOT / "weights/weight.bin"


def read_package(path: Path) -> Program:
    """The program of a package, with its weights.

    Raises:
        InputError: missing, truncated, or no package of an ML program.
    """
    with _tell_damage(path):
        weights = path / "Data" / WEIGHTS
        specification = _read_specification(path)
        content = weights.read_bytes() if weights.is_file() else b""
        if content:
            check_weights(content)
        return read_program(specification, content)


def read_about(path: Path) -> About:
    """What a package says of itself.

    Raises:
        InputError: missing, truncated, or no package.
    """
    with _tell_damage(path):
        return decode_about(_read_specification(path))


@contextmanager
def _tell_damage(path: Path) -> Iterator[None]:
    """Tell whatever goes wrong while a package is read as InputError."""
    if not path.is_dir():
        raise InputError(f"{path} is not a folder", hint="a Core ML package is a folder: check the path")
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} is damaged: {error.filename}: {error.strerror}", hint="export it again") from error
    # numbers and names of a damaged file lead anywhere within these; recursion: a message that nests without end
    except (Malformed, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise InputError(f"{path} is no readable .mlpackage: {error}", hint="export it again") from error


def _read_specification(path: Path) -> bytes:
    return (path / "Data" / _find_root_model(path / MANIFEST)).read_bytes()


def _find_root_model(manifest: Path) -> Path:
    """The place of the root model within the package, as the manifest says."""
    try:
        document = parse_json(read_text(manifest))
        entries, root = document["itemInfoEntries"], document["rootModelIdentifier"]
        place = Path(entries[root]["path"])
    except (KeyError, TypeError) as error:
        raise Malformed(f"{manifest.name} names no root model") from error
    if place.is_absolute() or ".." in place.parts:
        raise Malformed(f"{manifest.name} points outside of the package")
    return place
