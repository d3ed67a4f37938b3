from __future__ import annotations

import logging
import os
import sys
import warnings

import pytest

from deploy_prune.processes.silence import silence


def test_native_and_python_output_are_kept_off_the_terminal(capfd):
    with silence() as transcript:
        os.write(1, b"native out\n")
        os.write(2, b"native err\n")
        sys.stdout.write("python out\n")
        sys.stderr.write("python err\n")
        text = transcript()
    assert capfd.readouterr() == ("", "")
    assert all(part in text for part in ("native out", "native err", "python out", "python err"))


def test_output_reaches_the_terminal_again_afterwards(capfd):
    with pytest.raises(KeyError), silence():
        raise KeyError
    os.write(1, b"native\n")
    sys.stdout.write("python\n")
    sys.stdout.flush()
    assert capfd.readouterr().out == "native\npython\n"


def test_what_is_printed_before_is_not_lost(capfd):
    sys.stdout.write("before\n")
    with silence():
        os.write(1, b"inside\n")
    sys.stdout.flush()
    assert capfd.readouterr().out == "before\n"


def test_a_handler_that_a_vendor_gives_the_root_logger_is_taken_back():
    before = logging.root.handlers[:]
    with silence():
        logging.root.addHandler(logging.StreamHandler())
    assert logging.root.handlers == before


def test_warnings_inside_are_silent_and_outside_as_before():
    with silence():
        warnings.warn("vendor", DeprecationWarning, stacklevel=1)
    with pytest.raises(DeprecationWarning):
        warnings.warn("ours", DeprecationWarning, stacklevel=1)
