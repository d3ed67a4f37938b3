"""Keys and signatures: those of openssl, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from absent import uninstall
from bundled import write_keys

from deploy_prune.bundling.signing import is_signed_by, name_key, read_private_key, read_public_key
from deploy_prune.errors import InputError, MissingDependency

pytest.importorskip("cryptography", reason="what signs is not installed")


def test_what_one_key_signs_the_public_half_alone_approves(tmp_path: Path) -> None:
    private, public = write_keys(tmp_path)
    key = read_private_key(private)
    signature = key.sign(b"content")
    assert read_public_key(public) == name_key(key)
    assert is_signed_by(name_key(key), signature, b"content")
    assert not is_signed_by(name_key(key), signature, b"Content")
    assert not is_signed_by(name_key(key), signature[:-1] + b"\0", b"content") or signature[-1] == 0
    assert not is_signed_by("ab" * 32, signature, b"content")
    assert not is_signed_by("no hex", signature, b"content")


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    private, public = write_keys(tmp_path)
    (tmp_path / "text").write_text("a key")
    for path in (tmp_path / "text", tmp_path / "none", public):
        with pytest.raises(InputError, match="holds no ed25519 key"):
            read_private_key(path)
    for path in (tmp_path / "text", tmp_path / "none", private):
        with pytest.raises(InputError, match="holds no ed25519 key"):
            read_public_key(path)


def test_another_kind_of_key_is_named(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    (tmp_path / "ec.pem").write_bytes(
        generate_private_key(SECP256R1()).private_bytes(pem, serialization.PrivateFormat.PKCS8, none)
    )
    with pytest.raises(InputError, match="ECPrivateKey"):
        read_private_key(tmp_path / "ec.pem")


def test_without_the_package_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    uninstall(monkeypatch, "cryptography")
    for name in [each for each in sys.modules if each.split(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(MissingDependency, match="cryptography"):
        read_private_key(tmp_path / "key.pem")
