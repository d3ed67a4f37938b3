"""A tiny network with odd widths and a non-square input and its exported files, and a tiny run of the pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from deploy_prune import plugins
from deploy_prune.results import RunSummary
from deploy_prune.values import Network

# On a busy machine the first example takes as long as an import: no law of ours is about time.
settings.register_profile("without a deadline", deadline=None)
settings.load_profile("without a deadline")

TINY_SHAPE = (3, 16, 24)
TINY_CLASSES = 5


def conv_network(width: int, *, seed: int = 0, shape: tuple[int, int, int] = TINY_SHAPE) -> Network:
    """Convolution, batch norm with lived-in statistics, depthwise convolution, linear; in training mode."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU6(),
        nn.Conv2d(width, width, 3, padding=1, groups=width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, TINY_CLASSES),
    )
    with torch.no_grad():
        module.train()(torch.randn(8, *shape))
    return Network("tests:conv_network", module, (shape,), TINY_CLASSES)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The store of latency tables of whoever runs the tests stays as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_network() -> Network:
    return conv_network(13)


@pytest.fixture(scope="session")
def tiny_tflite(tiny_network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _exported("tflite", tiny_network, tmp_path_factory.mktemp("tflite"))


@pytest.fixture(scope="session")
def tiny_onnx(tiny_network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _exported("onnx", tiny_network, tmp_path_factory.mktemp("onnx"))


@pytest.fixture(scope="session")
def tiny_pte(tiny_network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _exported("executorch", tiny_network, tmp_path_factory.mktemp("executorch"))


@pytest.fixture(scope="session")
def tiny_mlpackage(tiny_network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _exported("coreml", tiny_network, tmp_path_factory.mktemp("coreml"))


@pytest.fixture(scope="session")
def small_and_large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two networks whose times differ by far more than any noise: 16 times the pixels, the same layers."""
    folder = tmp_path_factory.mktemp("pair")
    for name, side in (("small", 32), ("large", 128)):
        plugins.build("exporters", "onnx").write(conv_network(16, shape=(3, side, side)), folder / f"{name}.onnx")
    return folder / "small.onnx", folder / "large.onnx"


def _exported(name: str, network: Network, folder: Path) -> Path:
    path = folder / f"tiny{plugins.load('exporters', name).suffix}"
    plugins.build("exporters", name).write(network, path)
    return path


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the network and the data of `tinyrun`."""
    import tinyrun

    return tinyrun.written(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def bare(sources: Path) -> tuple[Path, RunSummary]:
    """A whole run that exports nothing."""
    import tinyrun

    from deploy_prune.pipeline import prune

    return sources / "bare", prune(tinyrun.config(sources), sources / "bare")
