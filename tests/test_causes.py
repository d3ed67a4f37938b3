"""The error that others' exceptions come to, however they are wrapped."""

from __future__ import annotations

from deploy_prune.causes import find_missing_library, is_out_of_memory, read_missing_library

SAID = "libgomp.so.1: cannot open shared object file: No such file or directory"


def test_a_missing_library_is_found_in_what_an_error_was_raised_from() -> None:
    wrapped = RuntimeError("the vendor is not usable")
    wrapped.__cause__ = OSError(SAID)
    missing = find_missing_library(wrapped)
    assert missing
    assert "libgomp.so.1" in missing.message and find_missing_library(RuntimeError(SAID)) is None


def test_a_missing_library_is_found_in_the_last_words_of_a_process() -> None:
    missing = read_missing_library(f"Traceback (most recent call last):\n  ...\nImportError: {SAID}")
    assert missing
    assert "libgomp.so.1" in missing.message and read_missing_library("ImportError: no module") is None


def test_memory_that_ran_out_is_told_by_the_words_of_vendors() -> None:
    assert is_out_of_memory(MemoryError()) and is_out_of_memory(RuntimeError("Failed to allocate memory for a buffer"))
    assert not is_out_of_memory(RuntimeError("a wrong shape"))
