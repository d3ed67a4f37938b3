"""An address is the name of a plugin and what is left for it to read."""

from __future__ import annotations

import pytest

from deploy_prune.sources.addresses import split_address


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("resnet56", ("resnet56", "")),
        ("torchvision:mobilenet_v2", ("torchvision", "mobilenet_v2")),
        ("torchvision:SVHN:some/folder", ("torchvision", "SVHN:some/folder")),
        ("some/where.py:make", ("file", "some/where.py:make")),
    ],
)
def test_an_address_is_a_plugin_and_a_rest(address, parts):
    assert split_address(address) == parts
