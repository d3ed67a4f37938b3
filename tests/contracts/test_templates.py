"""What every skeleton format promises: a resized file is what the real converter makes of the really cut network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from latencies import mixed
from nets import NETS

from deploy_prune import plugins
from deploy_prune.budget.latency.resizable import ResizableNetwork, learn_sizes, randomise_weights
from deploy_prune.budget.latency.size_lines import probing_widths
from deploy_prune.budget.latency.timer import timer
from deploy_prune.errors import Inconclusive, InputError
from deploy_prune.formats.templates import WEIGHTED, Structure
from deploy_prune.graph import trace
from deploy_prune.graph.soundness import settle
from deploy_prune.graph.surgery import cut
from deploy_prune.sources.open import open_network
from deploy_prune.timing.bracketing import Pace
from deploy_prune.timing.devices import THIS_MACHINE, device_at, target_on
from deploy_prune.values import ChannelGraph, Network

# Whole conversions, which the tests share.
pytestmark = [pytest.mark.heavy, pytest.mark.parametrize("name", plugins.list_names("templates"))]

CUTTABLE = (
    "plain", "residual", "depthwise", "concat", "concat_image", "dense_block", "squeeze_excite", "flatten_mlp",
    "flatten_module", "grouped_whole", "grouped_same_place", "chunk", "split_branches", "transposed", "pools",
    "bilinear",
)  # fmt: skip
IN_CI = {"grouped_whole", "flatten_mlp"}
FAMILIES = {
    "torchvision:mobilenet_v2": (3, 224, 224),
    "torchvision:resnet18": (3, 224, 224),
    "resnet20": (3, 32, 32),
    "timm:efficientnet_lite0": (3, 224, 224),
}


@pytest.fixture
def blueprint(name: str, blueprints: Callable[[str], ResizableNetwork]) -> ResizableNetwork:
    return blueprints(name)


def converted(name: str, network: Network, graph: ChannelGraph, widths: np.ndarray, folder: Path) -> bytes:
    """What the exporter makes of the network that surgery cut to these widths."""
    format_ = plugins.build("templates", name)
    keep = {group.name: tuple(range(width)) for group, width in zip(graph.free, widths.tolist(), strict=True)}
    path = folder / f"cut{format_.suffix}"
    plugins.build("exporters", format_.exporter).write(cut(randomise_weights(network), graph, keep), path)
    return path.read_bytes()


def structure(name: str, content: bytes) -> Structure:
    found: Structure = plugins.build("templates", name).read(content).structure
    return found


def assert_same(name: str, skeleton: bytes, real: bytes) -> None:
    """Operators, wiring, and every number."""
    one, other = structure(name, skeleton), structure(name, real)
    assert one.wiring == other.wiring
    assert one.numbers.tolist() == other.numbers.tolist()
    assert one.operators == other.operators


def fresh_widths(graph: ChannelGraph, seed: int) -> np.ndarray:
    """Random ones of two and more, as plans have, none as in the dense or the probing files.

    (At a width of one converters write other operators: every convolution of it is depthwise.)
    """
    dense = np.array([group.width for group in graph.free])
    known = np.concatenate([dense[None], probing_widths(graph)])
    draw = np.random.default_rng(seed)
    fresh = [np.setdiff1d(np.arange(2, width + 1), known[:, column]) for column, width in enumerate(dense)]
    return np.array(
        [draw.choice(options) if options.size else width for options, width in zip(fresh, dense, strict=True)]
    )


def ran(name: str, content: bytes, folder: Path) -> list[np.ndarray]:
    """What the runtime computes of ones."""
    format_ = plugins.build("templates", name)
    path = folder / f"net{format_.suffix}"
    path.write_bytes(content)
    session = plugins.build("runtimes", format_.runtime).open(path, threads=1)
    found: Any = session.run(*(np.ones(spec.shape, np.float32) for spec in session.inputs))
    return list(found)


@pytest.mark.heavy
def test_a_skeleton_is_what_the_converter_makes_of_the_cut_network(name, blueprint, tmp_path):
    network = mixed()
    graph = trace(network)
    widths = fresh_widths(graph, seed=0)
    assert_same(name, blueprint.network(widths), converted(name, network, graph, widths, tmp_path))


def test_dense_widths_give_the_dense_file(name, blueprint):
    dense = np.array([group.width for group in trace(mixed()).free])
    assert_same(name, blueprint.network(dense), blueprint.dense)
    blueprint.network(np.ones_like(dense))
    assert_same(name, blueprint.network(dense), blueprint.dense)


def test_the_runtime_computes_with_a_skeleton(name, blueprint, tmp_path):
    draw = np.random.default_rng(0)
    dense = [group.width for group in trace(mixed()).free]
    for widths in (*draw.integers(1, np.array(dense) + 1, size=(4, 3)), np.ones(3, int), np.array(dense)):
        (logits,) = ran(name, blueprint.network(widths), tmp_path)
        assert logits.shape == (1, 5) and np.isfinite(logits).all() and logits.std() > 0


def test_the_runtime_computes_every_weighted_operator_alone(name, blueprint, tmp_path):
    """Each has widths of its own, and writes as much as it does in the network."""
    widths = np.array([10, 17, 7])
    numbers = blueprint.lines.at(widths)
    kinds = set()
    for place, operator in enumerate(blueprint.operators):
        if operator.kind in WEIGHTED:
            (found,) = ran(name, blueprint.layer(place, widths), tmp_path)
            assert list(found.shape) == numbers[list(operator.outputs[0])].tolist()
            kinds.add(operator.kind)
    assert kinds == {"convolution", "pointwise", "depthwise", "dense"}


def test_a_layer_alone_is_smaller_than_its_network_and_leaves_it_as_it_was(name, blueprint, tmp_path):
    dense = np.array([group.width for group in trace(mixed()).free])
    before = blueprint.network(dense)
    assert len(blueprint.layer(0, dense)) < len(before) / 2
    assert blueprint.network(dense) == before


def test_the_operators_are_told_with_their_sizes(name, blueprint):
    """The residual block's expansion: 1x1, 21 channels to 38."""
    numbers = structure(name, blueprint.dense).numbers
    pointwise = next(each for each in blueprint.operators if each.kind == "pointwise")
    assert (numbers[pointwise.channels_in], numbers[pointwise.channels_out]) == (21, 38)
    assert sorted(numbers[list(pointwise.weight)]) == [1, 1, 21, 38]
    assert (pointwise.kernel, pointwise.stride) == (1, 1)
    depthwise = next(each for each in blueprint.operators if each.kind == "depthwise")
    assert depthwise.kernel == 9 and numbers[depthwise.channels_out] == 21


def test_another_precision_is_refused(name, blueprint):
    with pytest.raises(InputError, match="weights are int8 cannot be taken apart") as refused:
        plugins.build("templates", name).read(blueprint.dense, "int8")
    assert refused.value.exit_code == 2 and refused.value.hint == "export it in fp32"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_refused(name, blueprint, share):
    content = blueprint.dense[: int(share * len(blueprint.dense))]
    with pytest.raises(InputError):
        plugins.build("templates", name).read(content)


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8, bytes(4096), b"{}"])
def test_a_foreign_file_is_refused(name, content):
    with pytest.raises(InputError):
        plugins.build("templates", name).read(content)


def test_what_it_names_exists(name):
    format_ = plugins.load("templates", name)
    assert plugins.load("exporters", format_.exporter).suffix == format_.suffix
    assert format_.suffix in plugins.load("runtimes", format_.runtime).suffixes
    assert set(format_.tiles) == set(WEIGHTED)


@pytest.mark.slow
@pytest.mark.parametrize(
    "net", [pytest.param(each, marks=[pytest.mark.ci] if each in IN_CI else []) for each in CUTTABLE]
)
def test_skeletons_of_every_kind_of_network(name, net, tmp_path):
    network = NETS[net]()
    graph = settle(network)
    blueprint = learn_sizes(network, graph, tmp_path, name)
    for seed in range(3):
        widths = fresh_widths(graph, seed)
        assert_same(name, blueprint.network(widths), converted(name, network, graph, widths, tmp_path))
        assert all(np.isfinite(each).all() for each in ran(name, blueprint.network(widths), tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("address", FAMILIES)
def test_skeletons_of_known_families_take_as_long_as_the_real_files(name, address, tmp_path):
    network = open_network(address, input_shape=FAMILIES[address])
    graph = settle(network)
    blueprint = learn_sizes(network, graph, tmp_path, name)
    draw = np.random.default_rng(0)
    dense = np.array([group.width for group in graph.free])
    widths = np.maximum((dense * draw.uniform(0.3, 0.9, len(dense))).astype(int), 2)
    skeleton, real = blueprint.network(widths), converted(name, network, graph, widths, tmp_path)
    assert_same(name, skeleton, real)
    ratio = timed_against(name, real, skeleton)
    if abs(ratio - 1) > 0.05:  # where buffers come to lie, or a noisy moment
        ratio = timed_against(name, real, skeleton)
    assert ratio == pytest.approx(1, abs=0.05)


def timed_against(name: str, reference: bytes, candidate: bytes) -> float:
    format_ = plugins.build("templates", name)
    pace = Pace(blocks=6, block_ms=50.0, repeats=60)
    here = device_at(THIS_MACHINE)
    target = target_on(here, format_.runtime)
    with timer(reference, format_.suffix, target, device=here, pace=pace, openings=5) as timed:
        try:
            return timed(candidate).ratio
        except Inconclusive:
            return timed(candidate).ratio
