"""The texts of flags become values, or an error that names the flag and shows how to write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy_prune.cli.options import image_shape, integers, model_options, name_list
from deploy_prune.errors import ConfigError


def test_names_are_split_at_commas() -> None:
    assert name_list("tflite, onnx") == ("tflite", "onnx")
    assert name_list(None) is None


@pytest.mark.parametrize("text", ["", "tflite,", ",onnx", "tflite,,onnx"])
def test_an_empty_name_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="empty name"):
        name_list(text)


@given(st.lists(st.integers(1, 10**6), min_size=1).map(tuple))
def test_integers_are_read_as_they_were_written(numbers: tuple[int, ...]) -> None:
    assert integers("--threads", ",".join(map(str, numbers))) == numbers


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "1;4", "four", "1,", "²"])
def test_what_is_no_positive_integer_is_refused_with_the_flag(text: str) -> None:
    with pytest.raises(ConfigError, match="--threads") as caught:
        integers("--threads", text)
    assert caught.value.hint == "write --threads 1,4"


def test_an_image_has_three_sizes() -> None:
    assert image_shape("3,96,160") == (3, 96, 160)
    assert image_shape(None) is None
    with pytest.raises(ConfigError, match="has 2 numbers"):
        image_shape("224,224")


def test_options_of_a_model_are_scalars_of_toml_or_bare_words() -> None:
    texts = ["stem=cifar", "width=0.5", "depth = 3", "relu=true", 'name="a=b"', "date=2020-01"]
    found = {"stem": "cifar", "width": 0.5, "depth": 3, "relu": True, "name": "a=b", "date": "2020-01"}
    assert model_options(texts) == found
    assert model_options(None) == {}


@pytest.mark.parametrize(
    ("texts", "said"), [(["stem"], "no value"), (["stem="], "no value"), (["=3"], "no key"), (["a=1", "a=2"], "twice")]
)
def test_what_is_no_option_is_refused(texts: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        model_options(texts)
