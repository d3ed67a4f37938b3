"""Damaged inputs end as they should: a share of what `benchmarks.mutations` tries, and that it sees what is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.mutated import Kind
from benchmarks.mutations import KINDS, try_kind
from deploy_prune.errors import DataError, OurFault

# The harness forks; a child reads its inputs and never comes to JAX, which other tests of the process may have loaded.
pytestmark = pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning")

SHARE = 60
"""How many inputs of each kind are tried here."""


@pytest.mark.heavy
@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_input_is_read_or_refused_by_an_error_of_ours(name: str, tmp_path: Path) -> None:
    tally = try_kind(name, KINDS[name], range(SHARE), tmp_path)
    assert (tally.tried, tally.faults) == (SHARE, [])


def _read(folder: Path, content: bytes) -> None:
    match content:
        case b"refused":
            raise DataError("it is refused")
        case b"ours":
            raise OurFault("it is our fault")
        case b"other":
            raise KeyError("nobody caught it")
        case b"dead":
            os._exit(3)
        case b"large":
            assert bytearray(b"x" * (600 << 20))


@pytest.mark.heavy
def test_what_is_wrong_is_seen(tmp_path: Path) -> None:
    contents = [b"read", b"refused", b"ours", b"dead", b"large", b"other"]
    kind = Kind(lambda _: contents, _read, lambda content, _: content)
    tally = try_kind("any", kind, range(16), tmp_path)
    assert tally.tried == 16
    assert set(tally.outcomes) == {"read", "DataError", "OurFault", "died", "KeyError"}
    large = [fault for fault in tally.faults if fault.endswith(" MB")]
    assert large
    assert (
        tally.wrong
        == len(tally.faults)
        == len(large) + sum(tally.outcomes[name] for name in ("OurFault", "died", "KeyError"))
    )
