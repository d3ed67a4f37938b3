"""The texts of flags become values, or an error that names the flag and shows how to write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_prune.cli.options import parse_image_shape, parse_integers, parse_model_options, parse_names
from deploy_prune.errors import ConfigError


def test_names_are_split_at_commas() -> None:
    assert parse_names("tflite, onnx") == ("tflite", "onnx")
    assert parse_names(None) is None


@pytest.mark.parametrize("text", ["", "tflite,", ",onnx", "tflite,,onnx"])
def test_an_empty_name_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="empty name"):
        parse_names(text)


@given(st.lists(st.integers(1, 10**6), min_size=1).map(tuple))
def test_integers_are_read_as_they_were_written(numbers: tuple[int, ...]) -> None:
    assert parse_integers("--threads", ",".join(map(str, numbers))) == numbers


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "1;4", "four", "1,", "²"])
def test_what_is_no_positive_integer_is_refused_with_the_flag(text: str) -> None:
    with pytest.raises(ConfigError, match="--threads") as caught:
        parse_integers("--threads", text)
    assert caught.value.hint == "write --threads 1,4"


def test_an_image_has_three_sizes() -> None:
    assert parse_image_shape("3,96,160") == (3, 96, 160)
    assert parse_image_shape(None) is None
    with pytest.raises(ConfigError, match="has 2 numbers"):
        parse_image_shape("224,224")


def test_options_of_a_model_are_scalars_of_toml_or_bare_words() -> None:
    texts = ["stem=cifar", "width=0.5", "depth = 3", "relu=true", 'name="a=b"', "date=2020-01"]
    found = {"stem": "cifar", "width": 0.5, "depth": 3, "relu": True, "name": "a=b", "date": "2020-01"}
    assert parse_model_options(texts) == found
    assert parse_model_options(None) == {}


@pytest.mark.parametrize(
    ("texts", "said"), [(["stem"], "no value"), (["stem="], "no value"), (["=3"], "no key"), (["a=1", "a=2"], "twice")]
)
def test_what_is_no_option_is_refused(texts: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_model_options(texts)
