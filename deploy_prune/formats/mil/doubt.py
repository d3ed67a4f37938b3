"""Refuses what Apple's documentation leaves open, so that no file is called verified on our reading alone."""

from __future__ import annotations

from typing import NoReturn

from deploy_prune.errors import NotVerifiable


def refuse_doubt(what: str) -> NoReturn:
    """Say that an operator cannot be evaluated, and why.

    Raises:
        NotVerifiable: always.
    """
    raise NotVerifiable(f"not verifiable here: {what}", hint="export it again, or run it on an Apple device")
