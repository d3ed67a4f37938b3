"""The development checkpoints reproduce their recorded accuracy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy_prune.sources.data import read_data
from deploy_prune.sources.networks import build_network
from deploy_prune.sources.weights import load_weights
from deploy_prune.train.evaluation import evaluate
from deploy_prune.train.recalibration import recalibrate_norms
from deploy_prune.values import Data

SHARED = Path(__file__).parents[2] / "../shared/data"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SHARED.is_dir(), reason="the development checkpoints are not beside the repository"),
]


@pytest.fixture(scope="module")
def cifar10() -> Data:
    return read_data(f"cifar10:{SHARED}")


def checkpoint(name: str):
    address = name if name.startswith("resnet") else f"torchvision:{name}"
    options = {} if name.startswith("resnet") else {"stem_stride": 1}
    network = build_network(address, classes=10, input_shape=(3, 32, 32), options=options)
    return load_weights(network, SHARED / f"{name}-cifar10.safetensors")


@pytest.mark.parametrize("name", ["resnet20", "resnet56", "mobilenet_v2"])
def test_dense_accuracy_is_the_recorded_one(name, cifar10):
    recorded = json.loads((SHARED / "accuracy.json").read_text())[name]
    assert evaluate(checkpoint(name), cifar10.test, cifar10).value == pytest.approx(recorded, abs=0.001)


def test_measuring_the_norms_of_an_untouched_network_changes_little(cifar10):
    recalibrated = recalibrate_norms(checkpoint("resnet20"), cifar10)
    assert evaluate(recalibrated, cifar10.test, cifar10).value == pytest.approx(0.8778, abs=0.005)
