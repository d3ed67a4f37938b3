"""A bundle is checked to the last byte, and by what its files answer."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from bundled import make_run, write_keys, write_linear

from deploy_prune.bundling.bundle import bundle
from deploy_prune.bundling.checking import check_bundle
from deploy_prune.bundling.manifest import DIGEST, MANIFEST, SIGNATURE
from deploy_prune.bundling.order import BundleOrder
from deploy_prune.errors import DeployPruneError, InputError
from deploy_prune.records import sha256


@pytest.fixture
def made(tmp_path: Path) -> Path:
    runs = make_run(tmp_path / "wide", seed=1), make_run(tmp_path / "narrow", seed=2)
    bundle(BundleOrder(runs, formats=("onnx",), apps=("android",)), tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    private, _ = write_keys(tmp_path)
    run = make_run(tmp_path / "one", seed=1)
    bundle(BundleOrder((run,), formats=("onnx",), apps=("android",), signing_key=private), tmp_path / "signed")
    return tmp_path / "signed"


def test_a_bundle_as_it_was_made_passes_wherever_it_lies(made: Path, tmp_path: Path) -> None:
    result = check_bundle(made.rename(tmp_path / "moved"))
    assert result.passed and not result.signed_by
    assert [(row.variant, row.status) for row in result.rows] == [("wide", "same"), ("narrow", "same")]


@pytest.mark.parametrize("seed", range(12))
def test_a_byte_changed_anywhere_is_refused_with_the_files_name(signed: Path, seed: int) -> None:
    draw = random.Random(seed)
    files = sorted(file for file in signed.rglob("*") if file.is_file() and file.stat().st_size)
    file = draw.choice(files)
    content = bytearray(file.read_bytes())
    content[draw.randrange(len(content))] ^= draw.randrange(1, 256)
    file.write_bytes(content)
    with pytest.raises(DeployPruneError, match=file.name if file.name != DIGEST else MANIFEST):
        check_bundle(signed)


def test_files_that_are_lost_added_or_linked_are_refused_with_their_names(made: Path) -> None:
    (made / "extra.txt").write_text("x")
    with pytest.raises(InputError, match=r"extra.txt is no part of the bundle"):
        check_bundle(made)
    (made / "extra.txt").unlink()
    (made / "link").symlink_to("/etc/hostname")
    with pytest.raises(InputError, match=r"link is a link"):
        check_bundle(made)
    (made / "link").unlink()
    (made / "README.md").rename(made.parent / "README.md")
    with pytest.raises(InputError, match=r"README.md is not there"):
        check_bundle(made)


def write_again(made: Path, change: dict[str, object]) -> None:
    """A manifest with other values, whose digest fits."""
    document = json.loads((made / MANIFEST).read_text()) | change
    for file in made.rglob(MANIFEST):
        file.write_text(json.dumps(document))
    (made / DIGEST).write_text(f"{sha256(made / MANIFEST)}  {MANIFEST}\n")


def test_a_file_that_answers_otherwise_does_not_pass(made: Path) -> None:
    document = json.loads((made / MANIFEST).read_text())
    file = document["variants"][1]["files"][0]
    write_linear(made / file["path"], seed=9)
    for row in (file, *(each for each in document["files"] if each["path"] == file["path"])):
        row["sha256"], row["size_bytes"] = sha256(made / file["path"]), (made / file["path"]).stat().st_size
    write_again(made, document)
    result = check_bundle(made)
    assert not result.passed
    assert [row.status for row in result.rows] == ["same", "different"] and "limit" in result.rows[1].reason


def test_a_size_that_is_not_the_files_is_refused(made: Path) -> None:
    files = json.loads((made / MANIFEST).read_text())["files"]
    files[0]["size_bytes"] += 1
    write_again(made, {"files": files})
    with pytest.raises(InputError, match="has changed since the bundle was made"):
        check_bundle(made)


def test_preprocessing_that_gives_other_numbers_is_refused(made: Path) -> None:
    taken = json.loads((made / MANIFEST).read_text())["input"]
    taken["scale"][0] *= 1 + 1e-6
    write_again(made, {"input": taken})
    with pytest.raises(InputError, match=r"golden/input.bin is not what becomes of golden/pixels.bin"):
        check_bundle(made)


def test_what_no_runtime_here_runs_is_told_and_is_no_pass(made: Path) -> None:
    document = json.loads((made / MANIFEST).read_text())
    for variant in document["variants"]:
        variant["files"][0]["runtime"] = "tensorrt"
    write_again(made, document)
    result = check_bundle(made)
    assert not result.passed and {row.status for row in result.rows} == {"not run"}
    assert "tensorrt" in result.rows[0].reason


def test_a_signature_must_be_of_the_key_that_was_asked_for(signed: Path, made: Path, tmp_path: Path) -> None:
    public = tmp_path / "public.pem"
    assert check_bundle(signed, key=public).signed_by
    with pytest.raises(InputError, match="is signed by nobody"):
        check_bundle(made, key=public)
    (tmp_path / "others").mkdir()
    _, other = write_keys(tmp_path / "others")
    with pytest.raises(InputError, match="is signed by another key"):
        check_bundle(signed, key=other)
    (signed / SIGNATURE).unlink()
    with pytest.raises(InputError, match="does not sign this"):
        check_bundle(signed)


def test_what_is_no_bundle_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no bundle"):
        check_bundle(tmp_path)
