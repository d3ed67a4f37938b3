"""What could steer a terminal or pass for a line of ours is spelled out; all other text stays as it is."""

from __future__ import annotations

import logging

import pytest

from deploy_prune.legible import LegibleFormatter, indent_further_lines, spell_controls


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("net\x1b[2J\x1b]0;pwned\x07", r"net\x1b[2J\x1b]0;pwned\x07"),
        ("a\rb\x08c\x7f\x9b", r"a\rb\x08c\x7f\x9b"),
        ("exe.\u202egnp", r"exe.\u202egnp"),
        ("\udc80\u2028", r"\udc80\u2028"),
        ("Kätzchen 猫 ▇ 10\u00a0ms\ttab\nline", "Kätzchen 猫 ▇ 10\u00a0ms\ttab\nline"),
    ],
)
def test_controls_are_spelled_out(text: str, shown: str) -> None:
    assert spell_controls(text) == shown


def test_a_name_cannot_pass_for_a_line_of_ours() -> None:
    assert indent_further_lines("cats\nhint: run this") == "cats\n  hint: run this"
    record = logging.LogRecord("x", logging.WARNING, "", 0, "%s is broken", ("cat\n\x1b[2Jerror: dogs",), None)
    assert LegibleFormatter().format(record) == "cat\n  \\x1b[2Jerror: dogs is broken"
