from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from deploy_prune.errors import InputError
from deploy_prune.formats.aimodel import read_asset

METADATA = b'{"assetVersion": "2.0", "author": "somebody", "creatorDefinedMetadata": {"labels": ["a", "b"]}}'


def folder(place: Path, program: bytes = b"program", metadata: bytes = METADATA) -> Path:
    path = place / "net.aimodel"
    path.mkdir()
    (path / "main.mlirb").write_bytes(program)
    (path / "main.hash").write_bytes(hashlib.sha256(b"program").digest())
    (path / "metadata.json").write_bytes(metadata)
    return path


def test_program_and_metadata_are_read(tmp_path: Path) -> None:
    asset = read_asset(folder(tmp_path))
    assert (asset.program, asset.metadata["author"], asset.own) == (b"program", "somebody", {"labels": ["a", "b"]})


def test_nothing_need_have_been_added_to_the_metadata(tmp_path: Path) -> None:
    assert read_asset(folder(tmp_path, metadata=b'{"assetVersion": "2.0"}')).own == {}


def test_a_program_that_was_changed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"net\.aimodel is damaged: main\.mlirb is not what main\.hash"):
        read_asset(folder(tmp_path, program=b"prograM"))


@pytest.mark.parametrize("metadata", [b"", b"[]", b"{}", b'{"assetVersion": 2}', b'{"assetVersion": NaN}', b"\xff"])
def test_metadata_that_are_none_are_refused(tmp_path: Path, metadata: bytes) -> None:
    with pytest.raises(InputError, match=r"net\.aimodel is damaged: metadata\.json"):
        read_asset(folder(tmp_path, metadata=metadata))


@pytest.mark.parametrize("part", ["main.mlirb", "main.hash", "metadata.json"])
def test_a_part_that_is_not_there_is_named(tmp_path: Path, part: str) -> None:
    path = folder(tmp_path)
    (path / part).unlink()
    with pytest.raises(InputError, match=rf"net\.aimodel is damaged: .*{part}"):
        read_asset(path)
