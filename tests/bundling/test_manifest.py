"""The manifest: paths stay inside, what cannot be is refused, and the schema that ships is the one that is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bundled import make_run
from hypothesis import given
from hypothesis import strategies as st

from deploy_prune.bundling.bundle import bundle
from deploy_prune.bundling.manifest import MANIFEST, check_path, read_manifest, write_manifest, write_schema
from deploy_prune.bundling.order import BundleOrder
from deploy_prune.errors import RecordError


@given(
    st.lists(
        st.text(alphabet="ab.-_ #é", min_size=1, max_size=5).filter(lambda part: part not in {".", ".."}), min_size=1
    )
)
def test_a_path_of_plain_names_is_taken_as_it_is(parts: list[str]) -> None:
    assert check_path("/".join(parts)) == "/".join(parts)


@pytest.mark.parametrize(
    "path", ["", "/", "/etc/passwd", "..", "../a", "a/../b", "a/./b", "a//b", "a/", ".", "C:/a", "a\\b", "a\0b", "a\nb"]
)
def test_a_path_that_may_lead_out_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is no path"):
        check_path(path)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    bundle(BundleOrder((make_run(tmp_path / "half"),), formats=("onnx",)), tmp_path / "bundle")
    return tmp_path / "bundle"


def test_what_was_read_is_written_as_it_was(made: Path) -> None:
    assert write_manifest(read_manifest(made)) == (made / MANIFEST).read_bytes()


def test_the_schema_names_every_key_that_is_there(made: Path) -> None:
    schema, document = json.loads(write_schema()), json.loads((made / MANIFEST).read_text())
    assert (made / "bundle.schema.json").read_bytes() == write_schema()
    assert set(document) == set(schema["properties"]) == set(schema["required"])
    assert set(document["variants"][0]["files"][0]) == set(schema["$defs"]["VariantFile"]["properties"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schema": 2}, "schema: Input should be 1"),
        ({"files": [{"path": "../x", "sha256": "0" * 64, "size_bytes": 1}]}, "is no path inside the bundle"),
        ({"files": [{"path": "x", "sha256": "0", "size_bytes": 1}]}, "files.0.sha256"),
        ({"fallback": "other"}, "names the variant 'other'"),
        ({"groups": [{"name": "Qualcomm_SM8750", "variant": "wide"}]}, "names the variant 'wide'"),
        ({"labels": None}, "labels"),
    ],
)
def test_what_cannot_be_is_refused_by_name(made: Path, change: dict[str, object], told: str) -> None:
    document = json.loads((made / MANIFEST).read_text()) | change
    (made / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(RecordError, match=told):
        read_manifest(made)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_manifest_is_an_error_of_ours(made: Path, content: bytes) -> None:
    (made / MANIFEST).write_bytes(content)
    with pytest.raises(RecordError, match=MANIFEST):
        read_manifest(made)
