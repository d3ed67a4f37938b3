"""Options of timm's and torchvision's own constructors reach them, and what they do not know is refused by name."""

from __future__ import annotations

import pytest

from deploy_prune.errors import ConfigError, UnknownName
from deploy_prune.sources.networks import build_network

SMALL = {"classes": 4, "input_shape": (3, 32, 32)}


def test_keywords_of_timm_reach_the_constructor_and_the_record():
    network = build_network("timm:mobilenetv2_035", **SMALL, options={"pad_type": "same", "bn_eps": 0.001})
    assert type(network.module.conv_stem).__name__ == "Conv2dSame"
    assert network.module.bn1.eps == 0.001
    assert network.options == {"pad_type": "same", "bn_eps": 0.001}


def test_keywords_of_torchvision_go_beside_our_own_options():
    network = build_network("torchvision:mobilenet_v2", **SMALL, options={"width_mult": 0.25, "stem_stride": 1})
    stem = network.module.features[0][0]
    assert (stem.out_channels, stem.stride) == (8, (1, 1))


@pytest.mark.parametrize(
    ("address", "wrong", "right"),
    [("timm:mobilenetv2_035", "pad_typ", "pad_type"), ("torchvision:mobilenet_v2", "width_mul", "width_mult")],
)
def test_an_unknown_keyword_is_refused_with_the_closest_known(address, wrong, right):
    with pytest.raises(UnknownName, match=f"unknown option of {address} '{wrong}'") as refused:
        build_network(address, **SMALL, options={wrong: 1})
    assert f"did you mean '{right}'?" in refused.value.hint


@pytest.mark.parametrize("key", ["pretrained", "checkpoint_path", "num_classes", "features_only"])
def test_what_is_not_the_users_to_give_is_refused(key):
    with pytest.raises(ConfigError, match=f"takes no option '{key}'"):
        build_network("timm:mobilenetv2_035", **SMALL, options={key: True})


@pytest.mark.parametrize(
    ("address", "options"),
    [("torchvision:mobilenet_v2", {"width_mult": "wide"}), ("timm:mobilenetv2_035", {"bn_eps": "tiny"})],
)
def test_a_value_that_means_nothing_is_refused(address, options):
    with pytest.raises(ConfigError):
        build_network(address, **SMALL, options=options)
