"""A tiny network with odd widths and a non-square input and its exported files, and a tiny run of the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import phones
import pytest
import torch
from absent import require
from coverage import Coverage
from simulated import link_simulator
from tinyconv import conv_network
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from deploy_prune import plugins
from deploy_prune.results import RunSummary
from deploy_prune.trust import trust_code
from deploy_prune.values import ChannelGraph, Network
from examples import begin_quick

if TYPE_CHECKING:
    from latencies import Phone
    from phones import MadeUpPhone
    from sshd import Board

    from deploy_prune.budget.latency.resizable import ResizableNetwork
    from deploy_prune.budget.latency.store import Store
    from deploy_prune.budget.latency.table import Profile

begin_quick()


UNWATCHED = ("contracts/test_exporters.py", "contracts/test_readers.py", "contracts/test_runtimes.py",
             "exporting/exporters", "exporting/parity")  # fmt: skip
"""Tests that mostly convert; what they say of our own lines, the pipeline's tests say too."""


CONVERTING = (*UNWATCHED, "analysis", "budget/latency/test_profiling.py", "cli/test_bench.py", "cli/test_doctor.py",
              "cli/test_explain.py", "exporting", "timing")  # fmt: skip
"""Tests that use the session's converted files, or convert; with `--dist loadgroup` one process runs all of them."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Converters take seconds to load and the session's files to be made: in one process this is done once."""
    return _OneConverts(config, log) if config.getoption("dist") == "loadgroup" else None


class _OneConverts(LoadFileScheduling):
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return "converting" if file.removeprefix("tests/").startswith(CONVERTING) else file


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--one-each", action="store_true", help="of a test with several examples run one, always the same")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("one_each"):
        chosen = {item.nodeid for item in choose_one_each(items)}
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in chosen])
        items[:] = [item for item in items if item.nodeid in chosen]
    for item in items:
        place = item.path.relative_to(Path(__file__).parent).as_posix()
        if place.startswith(UNWATCHED):
            item.add_marker("unwatched")


def choose_one_each(items: list[pytest.Item]) -> list[pytest.Item]:
    """Choose one example of every test by the checksum of its name: not always the first, but always the same."""
    by_test: dict[str, list[pytest.Item]] = {}
    for item in items:
        by_test.setdefault(item.nodeid.partition("[")[0], []).append(item)
    return [min(examples, key=lambda item: crc32(item.nodeid.encode())) for examples in by_test.values()]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool | None, bool | None]:
    """Coverage calls back at every call of any Python function, the vendors' too; fixtures count like the test."""
    watching = Coverage.current()
    if watching is None or item.get_closest_marker("unwatched") is None:
        return (yield)
    watching.stop()
    try:
        return (yield)
    finally:
        watching.start()


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The store of latency tables of whoever runs the tests stays as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        link_simulator()
        yield


@pytest.fixture(autouse=True, scope="session")
def _own_code() -> Iterator[None]:
    """Tests write the Python files that they name, also where they call what lies below command line and `prune`."""
    with trust_code():
        yield


@pytest.fixture(autouse=True)
def _own_seed() -> None:
    """A test's random weights do not depend on the tests that ran before it in the same process."""
    torch.manual_seed(0)


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
def tiny_aimodel(tiny_network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    require("coreai")
    return _exported("coreai", tiny_network, tmp_path_factory.mktemp("coreai"))


@pytest.fixture(scope="session")
def small_and_large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two networks whose times differ by far more than any noise: 16 times the pixels, the same layers."""
    folder = tmp_path_factory.mktemp("pair")
    for name, side in (("small", 32), ("large", 128)):
        plugins.build("exporters", "onnx").write(conv_network(16, shape=(3, side, side)), folder / f"{name}.onnx")
    return folder / "small.onnx", folder / "large.onnx"


@pytest.fixture(scope="session")
def blueprints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ResizableNetwork]:
    """Format -> the network of every kind of layer, drawn once: it takes three conversions."""
    from latencies import mixed

    from deploy_prune.budget.latency.resizable import learn_sizes
    from deploy_prune.graph import trace

    def drawn_once(name: str) -> ResizableNetwork:
        network = mixed()
        return learn_sizes(network, trace(network), tmp_path_factory.mktemp("drawn"), name)

    return cache(drawn_once)


@pytest.fixture(scope="session")
def blueprint(blueprints: Callable[[str], ResizableNetwork]) -> ResizableNetwork:
    """The blueprint of a network in ONNX."""
    return blueprints("onnx")


@pytest.fixture(scope="session")
def graph() -> ChannelGraph:
    """The channel graph of the network with every kind of layer."""
    from latencies import mixed

    from deploy_prune.graph import trace

    return trace(mixed())


@pytest.fixture(scope="session")
def table(graph: ChannelGraph) -> Profile:
    """A latency table of that network on a phone, made up."""
    from latencies import made_up

    return made_up(graph)


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """A host that the real ssh leads to: this machine, with a home and programs of its own."""
    import sshd

    if sshd.MISSING:
        pytest.skip(sshd.MISSING)
    with sshd.serve(tmp_path_factory.mktemp("board")) as served:
        yield served


@pytest.fixture(scope="session")
def android(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MadeUpPhone]:
    """A device that the real adb leads to: an arm64 root folder of its own, under an emulator."""
    if phones.MISSING:
        pytest.skip(phones.MISSING)
    with phones.serve(tmp_path_factory.mktemp("phone")) as served:
        yield served


@pytest.fixture(scope="session")
def ready_android(android: MadeUpPhone) -> MadeUpPhone:
    """The same, with what runs files pushed to it."""
    from deploy_prune.timing.devices import device_at

    phones.keep_bundle()
    device_at(android.address).set_up()
    return android


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty one."""
    from deploy_prune.budget.latency.store import open_store

    with open_store(tmp_path / "latency.sqlite") as found:
        yield found


@pytest.fixture(scope="session")
def sent(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Profile]:
    """A network's file, and its latency table of a phone: made up, and as a file."""
    import tinyrun
    from latencies import made_up

    from deploy_prune.budget.latency.table_file import write_table
    from deploy_prune.graph.soundness import settle
    from deploy_prune.sources.open import open_network

    folder = tinyrun.written(tmp_path_factory.mktemp("phone"))
    model = f"{folder}/net.py:build"
    table = replace(made_up(settle(open_network(model, input_shape=(3, 8, 8)))), address=model)
    write_table(table, folder / "table.json")
    return model, folder / "table.json", table


@pytest.fixture
def phone(sent: tuple[str, Path, Profile], tmp_path: Path) -> Phone:
    """A phone with a store of its own."""
    from latencies import Phone

    return Phone(*sent, tmp_path / "latency.sqlite")


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

    from deploy_prune.pipeline.run import prune

    return sources / "bare", prune(tinyrun.config(sources), sources / "bare")
