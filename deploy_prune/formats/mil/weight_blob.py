"""Reads weight.bin of a Core ML package: a header, then per tensor a small record that says where its bytes are."""

from __future__ import annotations

import numpy as np

from deploy_prune.formats.protobuf import Malformed, unpack

VERSION = 2
SENTINEL = 0xDEADBEEF
BLOB_DTYPES = {1: "<f2", 2: "<f4", 3: "u1", 4: "i1", 6: "<i2", 7: "<u2"}
"""The file's number of a type -> numpy's; bfloat16 and packed sub-byte types have none."""


def check_weights(content: bytes) -> None:
    """Refuse a file that is no weight file of the version we read.

    Raises:
        Malformed: it is not.
    """
    _, version = unpack("<II", content, 0)
    if version != VERSION:
        raise Malformed(f"weights of version {version}, known: {VERSION}")


def read_tensor(content: bytes, offset: int, *, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """The tensor whose record stands at `offset`, in the type and shape that the program says.

    Raises:
        Malformed: no record there, or one of another type or size.
    """
    sentinel, kind, size_bytes, start = unpack("<IIQQ", content, offset)
    if sentinel != SENTINEL:
        raise Malformed(f"no weight at byte {offset}")
    expected = np.dtype(dtype).itemsize * int(np.prod(shape, dtype=np.int64))
    if BLOB_DTYPES.get(kind) != dtype or size_bytes != expected:
        raise Malformed(f"the weight at byte {offset} has {size_bytes} bytes of type {kind}, not {shape} of {dtype}")
    if start + size_bytes > len(content):
        raise Malformed(f"the weight at byte {offset} ends after the file")
    return np.frombuffer(content, dtype, count=int(np.prod(shape, dtype=np.int64)), offset=start).reshape(shape)
