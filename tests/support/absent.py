"""Packages that are there and seem not to be: as if nobody had installed them."""

from __future__ import annotations

from importlib import metadata

import pytest


def uninstall(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Make Python know nothing of these distributions while a test runs; what is imported already stays."""
    known = metadata.Distribution.from_name

    def find(name: str) -> metadata.Distribution:
        if name in packages:
            raise metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(metadata.Distribution, "from_name", find)
