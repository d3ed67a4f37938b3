"""JSON and TOML texts are read within bounds, and what is in bounds is read as Python reads it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from deploy_prune.bounded import DEEPEST, parse_json, parse_toml, read_text, refuse_wild_values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 5000 + "]" * 5000, "deep"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "deep"),
        ("[NaN]", "NaN"),
        ("[-Infinity]", "Infinity"),
        ("1e999", "1e999"),
        (str(2**128), "128 bits"),
        ("9" * 10_000, "128 bits"),
        ('"' * 200_001, "Extra data"),
        ('"' + "\\" * 200_001, "Unterminated"),
        ('\\"' * 200_000, "Expecting value"),
    ],
)
def test_json_out_of_bounds_is_refused_at_once(text: str, said: str) -> None:
    before = time.process_time()
    with pytest.raises(ValueError, match=said):
        parse_json(text)
    assert time.process_time() - before < 1


def test_brackets_in_texts_do_not_count() -> None:
    value = {
        "[[{" * 50: ["]" * 100, '\\"[', "{" * 100],
        "a": r"\u0000",
        "numbers": [-(2**63), 2**63 - 1, 1e-9, 0.0, True, None],
    }
    assert parse_json(json.dumps(value)) == value
    deep = json.dumps(value)
    for _ in range(DEEPEST - 2):
        deep = f"[{deep}]"
    assert parse_json(deep)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = " + "[" * 2000 + "]" * 2000, "deep"),
        ("a = " + "{b = " * 2000 + "1" + "}" * 2000, "deep"),
        (".".join(["a"] * 40_000) + " = 1", "parts"),
        ("[" + " . ".join(['"a"'] * 40_000) + "]", "parts"),
        ("a = {" + ".".join(["b"] * 40_000) + " = 1}", "parts"),
        ("a = nan", "nan"),
        (r'a = ["x\u0000"]', "NUL"),
        ("a = [1.0, -inf]", "inf"),
        (f"a = {2**63}", "64 bits"),
        (f"a = {'1' * 300_000}", "longer"),
        ('a = """' + '"" ' * 60_000, "Unterminated|Expected|unclosed"),
        ("a = '''" + "'' " * 60_000, "Expected|Unterminated"),
        ("a = " + "x" * 200_000, "Invalid value"),
    ],
)
def test_toml_out_of_bounds_is_refused_at_once(text: str, said: str) -> None:
    before = time.process_time()
    with pytest.raises(ValueError, match=said):
        parse_toml(text)
    assert time.process_time() - before < 1


def test_dots_and_brackets_in_texts_and_comments_do_not_count() -> None:
    dots, brackets = ".".join("x" * 50), "[" * 100
    text = f"""a = "{dots}" # {dots}{brackets}
b = '{dots}{brackets}'
c = \"\"\"
{dots}"{brackets}\"\"\"
d = '''{brackets}'
{dots}'''
e = [{", ".join(["0.5"] * 100)}]
"{dots}" = 1
"""
    values = parse_toml(text)
    assert values["a"] == dots
    assert values["b"] == dots + brackets
    assert len(values["e"]) == 100


def test_a_file_that_is_too_large_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"1" * 2000)
    with pytest.raises(ValueError, match="larger than 1 kB"):
        read_text(tmp_path / "large", most_bytes=1024)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="utf-8"):
        read_text(tmp_path / "binary")


def test_numbers_within_tables_are_looked_at() -> None:
    refuse_wild_values({"a": [(1, 2.5, "x", None, True)], "b": {"c": -(2**63)}})
    for wild in (float("nan"), float("inf"), 2**63):
        with pytest.raises(ValueError, match=r"nan|inf|bits"):
            refuse_wild_values({"a": [{"b": (wild,)}]})
