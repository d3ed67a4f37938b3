"""Damage inside of a structure that is whole again afterwards: sums, lengths and archives are made right."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
import zlib

from benchmarks.mutated import NUMBERS, mutate_bytes

PNG = b"\x89PNG\r\n\x1a\n"
TAR_BLOCK, TAR_SUM = 512, slice(148, 156)
TYPES = ("F32", "F64", "F16", "BF16", "I32", "I64", "U8", "BOOL", "F8_E4M3", "X99")


def mutate_image(content: bytes, generator: random.Random) -> bytes:
    """Damage one chunk of a PNG, as it is or unpacked, and mend its sum; other images anywhere, and half of all."""
    if not content.startswith(PNG) or generator.random() < 0.5:
        return mutate_bytes(content, generator)
    chunks, place = [], len(PNG)
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += length + 12
    damaged = generator.randrange(len(chunks))
    name, body = chunks[damaged]
    if name == b"IDAT" and generator.random() < 0.5:
        body = zlib.compress(mutate_bytes(zlib.decompress(body), generator))
    else:
        body = mutate_bytes(body, generator)
    chunks[damaged] = (name, body)
    return PNG + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def mutate_tar(content: bytes, generator: random.Random) -> bytes:
    """Damage one header of a tar, or what lies where one could, and mend its sum; half of all: anywhere."""
    if generator.random() < 0.5:
        return mutate_bytes(content, generator)
    start = generator.randrange(len(content) // TAR_BLOCK) * TAR_BLOCK
    header = bytearray(mutate_bytes(content[start : start + TAR_BLOCK], generator).ljust(TAR_BLOCK, b"\0")[:TAR_BLOCK])
    header[TAR_SUM] = b" " * 8
    header[TAR_SUM] = f"{sum(header):06o}\0 ".encode()
    return content[:start] + bytes(header) + content[start + TAR_BLOCK :]


def mutate_safetensors(content: bytes, generator: random.Random) -> bytes:
    """Change what the header says of one tensor, or its text, and mend its length; a third of all: anywhere."""
    way = generator.randrange(3)
    (length,) = struct.unpack("<Q", content[:8])
    text = content[8 : 8 + length]
    if way == 0:
        return mutate_bytes(content, generator)
    if way == 1:
        text = mutate_bytes(text, generator)
    else:
        header = json.loads(text)
        described = header[generator.choice([name for name in header if name != "__metadata__"])]
        field = generator.choice(("dtype", "shape", "data_offsets"))
        if field == "dtype":
            described[field] = generator.choice(TYPES)
        else:
            numbers = described[field] or [0]
            numbers[generator.randrange(len(numbers))] = generator.choice(NUMBERS)
        text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def mutate_zip(content: bytes, generator: random.Random) -> bytes:
    """Damage one file of an archive, the pickle mostly, and pack it anew, deflated or not; half of all: anywhere."""
    if not content.startswith(b"PK") or generator.random() < 0.5:
        return mutate_bytes(content, generator)
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.endswith(".pkl")]
        damaged = generator.choice(pickles if generator.random() < 0.7 else names)
        way = generator.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        with zipfile.ZipFile(written, "w", way) as changed:
            for name in names:
                body = archive.read(name)
                changed.writestr(name, mutate_bytes(body, generator) if name == damaged else body)
    return written.getvalue()
