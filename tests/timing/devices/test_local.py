"""Addresses lead to devices, and this machine is the first of them."""

from __future__ import annotations

import platform

import pytest

from deploy_prune import plugins
from deploy_prune.errors import ConfigError, InputError, UnknownName
from deploy_prune.timing import conditions
from deploy_prune.timing.devices import DEVICES, THIS_MACHINE, device_at, is_address, target_on

HERE = device_at(THIS_MACHINE)


def test_the_scheme_of_an_address_is_the_name_of_a_plugin() -> None:
    assert {"local", "ssh"} <= set(plugins.list_names(DEVICES))
    assert (
        is_address("local") and is_address("ssh://board") and not is_address("tcp://board") and not is_address("cuda")
    )


@pytest.mark.parametrize("address", ["cuda", "tcp://board", "", "Local"])
def test_what_is_no_address_is_refused_with_those_there_are(address: str) -> None:
    with pytest.raises(ConfigError, match=f"'{address}' is no device") as caught:
        device_at(address)
    assert "known: adb, local" in caught.value.hint


def test_this_machine_has_no_place_within_it() -> None:
    with pytest.raises(InputError, match="device 'local' takes no options, got 'address'"):
        device_at("local://here")


def test_a_fingerprint_is_processor_architecture_and_system() -> None:
    about = HERE.describe()
    assert HERE.fingerprint == f"{about.processor}, {about.architecture}, {about.system}"
    assert about.system == platform.system() and about.cores == len(conditions.list_allowed_cores())
    assert all(version == HERE.runtime_version(name) for name, version in about.runtimes.items())


def test_a_target_says_where_and_with_which_version(tiny_onnx) -> None:
    target = target_on(HERE, "onnxruntime", 2)
    assert (target.device, target.runtime, target.threads) == (HERE.fingerprint, "onnxruntime", 2)
    assert target.runtime_version == HERE.runtime_version("onnxruntime")
    with pytest.raises(UnknownName):
        target_on(HERE, "tensorrt")


def test_there_are_no_more_cores_than_there_are() -> None:
    assert HERE.cores(1) == conditions.list_allowed_cores()[:1]
    assert HERE.cores(10_000) == conditions.list_allowed_cores()
