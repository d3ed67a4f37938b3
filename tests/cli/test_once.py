"""An option of one value is given once; lists and switches as often as one likes."""

from __future__ import annotations

import pytest

from deploy_prune.__main__ import run


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["export", "resnet20", "--target", "tflite", "--target", "onnx"], "--target is given 2 times"),
        (["report", "nowhere", "--plot", "a.png", "--plot=b.png"], "--plot is given 2 times"),
        (["latency", "show", "a", "--store", "a", "--store", "b"], "--store is given 2 times"),
    ],
)
def test_a_second_value_is_refused(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argv) == 2
    assert said in capsys.readouterr().err


def test_the_hint_says_how_names_are_given(capsys: pytest.CaptureFixture[str]) -> None:
    run(["export", "resnet20", "--target", "tflite", "--target", "onnx"])
    assert "separated by commas" in capsys.readouterr().err


def test_lists_and_switches_may_come_again(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["inspect", "nowhere.xyz", "--option", "a=1", "--option", "b=2", "--json", "--json"]
    assert run(argv) != 0
    assert "times" not in capsys.readouterr().err
