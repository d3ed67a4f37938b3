"""How files and arrays travel between us and a worker, on whatever carries its stdin and stdout.

A request is a line of JSON. Where it has `attached`, the bytes of a file follow: pieces of at most a megabyte, each
behind its own length (4 bytes, the most significant first) and compressed by itself, until a piece of length 0. Arrays
are within the lines, as text.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

PIECE_BYTES = 1 << 20
"""How many bytes of a file are compressed at a time, so that neither side ever holds the whole file."""
QUICK = 1
"""zlib's fastest level: skeletons and probes repeat their weights and shrink to a hundredth by any."""
LENGTH_BYTES = 4
"""How many bytes say how long a piece is."""


def pack_file(file: IO[bytes]) -> Iterator[bytes]:
    """The pieces of a file as they travel, the one that ends it included."""
    while piece := file.read(PIECE_BYTES):
        packed = zlib.compress(piece, QUICK)
        yield len(packed).to_bytes(LENGTH_BYTES) + packed
    yield bytes(LENGTH_BYTES)


def unpack_file(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """The pieces of a file that arrives; `read` gives exactly as many bytes as it is asked for."""
    while length := int.from_bytes(read(LENGTH_BYTES)):
        yield zlib.decompress(read(length))


def pack_array(array: np.ndarray) -> dict[str, Any]:
    """An array of numbers as JSON can hold it."""
    packed = base64.b64encode(zlib.compress(array.tobytes(), QUICK)).decode()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "content": packed}


def unpack_array(packed: dict[str, Any]) -> np.ndarray:
    """The array that `pack_array` was given."""
    import numpy as np

    content = zlib.decompress(base64.b64decode(packed["content"]))
    return np.frombuffer(content, packed["dtype"]).reshape(packed["shape"])
