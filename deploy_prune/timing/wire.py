"""How files and arrays travel between us and a worker, on whatever carries its stdin and stdout.

A request is a line of JSON. Where it has `attached`, the bytes of a file follow: pieces of at most a megabyte, each
behind its own length (4 bytes, the most significant first), until a piece of length 0. A piece is compressed by itself
where that pays; the highest bit of its length says that it is not. Arrays are within the lines, as text.
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
PLAIN = 1 << 31
"""The bit of a length that says that its piece is as it was in the file."""
TRIED_BYTES, PAYS = 1 << 14, 0.7
"""How much is compressed of a piece to see whether it pays, and the share that is left where it does: trained weights
hardly shrink, and take longer to be compressed than to travel."""


def pack_file(file: IO[bytes]) -> Iterator[bytes]:
    """The pieces of a file as they travel, the one that ends it included."""
    while piece := file.read(PIECE_BYTES):
        if _shrinks(piece):
            packed = zlib.compress(piece, QUICK)
            yield len(packed).to_bytes(LENGTH_BYTES) + packed
        else:
            yield (len(piece) | PLAIN).to_bytes(LENGTH_BYTES) + piece
    yield bytes(LENGTH_BYTES)


def unpack_file(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """The pieces of a file that arrives; `read` gives exactly as many bytes as it is asked for."""
    while length := int.from_bytes(read(LENGTH_BYTES)):
        yield read(length ^ PLAIN) if length & PLAIN else zlib.decompress(read(length))


def _shrinks(piece: bytes) -> bool:
    """Whether a piece is worth compressing, by its beginning, its middle and its end."""
    third = TRIED_BYTES // 3
    middle = len(piece) // 2
    tried = piece[:third] + piece[middle : middle + third] + piece[-third:]
    return len(zlib.compress(tried, QUICK)) < PAYS * len(tried)


def pack_array(array: np.ndarray) -> dict[str, Any]:
    """An array of numbers as JSON can hold it."""
    packed = base64.b64encode(zlib.compress(array.tobytes(), QUICK)).decode()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "content": packed}


def unpack_array(packed: dict[str, Any]) -> np.ndarray:
    """The array that `pack_array` was given."""
    import numpy as np

    content = zlib.decompress(base64.b64decode(packed["content"]))
    return np.frombuffer(content, packed["dtype"]).reshape(packed["shape"])
