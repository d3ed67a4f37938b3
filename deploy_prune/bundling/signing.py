"""Signatures of a manifest: ed25519, by the `cryptography` package."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy_prune.errors import InputError, MissingDependency

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

EXTRA = "bundle"
PRIMITIVES = "cryptography.hazmat.primitives"


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read the key that signs, from a PEM file without a password (`openssl genpkey -algorithm ed25519`).

    Raises:
        InputError: missing, or no such key.
        MissingDependency: cryptography is not installed.
    """
    load = _import(f"{PRIMITIVES}.serialization").load_pem_private_key
    return _read_key(path, _import_keys().Ed25519PrivateKey, partial(load, password=None))  # type: ignore[no-any-return]


def name_key(key: Ed25519PrivateKey) -> str:
    """The public half of a key, in hex, as a manifest's `signed_by` has it."""
    return key.public_key().public_bytes_raw().hex()


def read_public_key(path: Path) -> str:
    """Read the key that checks, from a PEM file, in hex.

    Raises:
        InputError: missing, or no such key.
        MissingDependency: cryptography is not installed.
    """
    load = _import(f"{PRIMITIVES}.serialization").load_pem_public_key
    return str(_read_key(path, _import_keys().Ed25519PublicKey, load).public_bytes_raw().hex())


def is_signed_by(signed_by: str, signature: bytes, content: bytes) -> bool:
    """Whether the holder of a key, whose public half is given in hex, has signed that content.

    Raises:
        MissingDependency: cryptography is not installed.
    """
    keys, invalid = _import_keys(), _import("cryptography.exceptions").InvalidSignature
    try:
        keys.Ed25519PublicKey.from_public_bytes(bytes.fromhex(signed_by)).verify(signature, content)
    except (invalid, ValueError):
        return False
    return True


def _read_key(path: Path, kind: type, load: Callable[[bytes], Any]) -> Any:
    try:
        key = load(path.read_bytes())
    except (ValueError, TypeError, OSError) as error:  # TypeError: it has a password
        raise _refuse(path, str(error)) from error
    if not isinstance(key, kind):
        raise _refuse(path, f"it is a {type(key).__name__}")
    return key


def _import_keys() -> Any:
    return _import(f"{PRIMITIVES}.asymmetric.ed25519")


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingDependency("cryptography", EXTRA) from error


def _refuse(path: Path, reason: str) -> InputError:
    hint = "openssl genpkey -algorithm ed25519 -out key.pem; openssl pkey -in key.pem -pubout -out public.pem"
    return InputError(f"{path} holds no ed25519 key: {reason}", hint=hint)
