"""Names come from files: before they reach a terminal, a log or a report, what would steer these is spelled out."""

from __future__ import annotations

import logging
import unicodedata

KEPT = "\n\t"
"""Characters that break lines and set columns, as our own texts do."""


def spell_controls(text: str) -> str:
    r"""The text with every control, direction mark and lone surrogate as a program would write it, such as `\x1b`."""
    if text.isprintable():
        return text
    return "".join(each if _is_harmless(each) else each.encode("unicode_escape").decode() for each in text)


def indent_further_lines(text: str) -> str:
    """The same text, of whose lines none but the first begins where a message of ours does."""
    return text.replace("\n", "\n  ")


class LegibleFormatter(logging.Formatter):
    """Writes log lines that no name in them can steer the terminal with, or pass for another line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line."""
        return indent_further_lines(spell_controls(super().format(record)))


def _is_harmless(character: str) -> bool:
    return character.isprintable() or character in KEPT or unicodedata.category(character) == "Zs"
