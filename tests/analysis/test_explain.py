"""Layer times add up to the whole's, and the sentence names what time was lost to, by numbers worked out by hand."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path

import pytest
from tinyconv import TINY_SHAPE, conv_network, two_outputs
from tinyrun import exported

from deploy_prune import plugins
from deploy_prune.analysis import slowdown
from deploy_prune.analysis.artifacts import describe_artifact
from deploy_prune.analysis.explain import Look, explain, explain_pair, judge
from deploy_prune.analysis.layer_times import LayerTime, assign_times, list_untimed_layers
from deploy_prune.analysis.slowdown import (
    Appeared,
    align,
    attribute_losses,
    find_appeared,
    find_memory_bound,
    find_not_delegated,
    find_off_stair,
)
from deploy_prune.errors import ConfigError, NoSpeedUp
from deploy_prune.timing.bracketing import Pace
from deploy_prune.timing.devices import THIS_MACHINE, device_at
from deploy_prune.timing.fake_device import FakeDevice
from deploy_prune.values import Network

QUICK = Look(device_at(THIS_MACHINE), pace=Pace(blocks=3, block_ms=2.0, drift=math.inf), profile_ms=50.0)
"""Short blocks on this machine, however noisy: these tests look at what adds up, not at the times."""
DEVICE = FakeDevice(lambda path: 2.0)
"""A device on which every file takes 2 ms, one-operator files too."""


def explained(before, after):
    """What there is to say of two real files, timed on this machine."""
    return explain_pair((describe_artifact(before), describe_artifact(after)), QUICK)


def conv(name, ms, macs, channels, **changes):
    """A convolution that computes."""
    fields = {"kind": "pointwise", "bytes_moved": 10, "channels_in": 32, "positions": 49, "place": 0} | changes
    return LayerTime(name, "Conv", "Conv", ms=ms, macs=macs, channels_out=channels, **fields)


def depthwise(name, ms, macs, channels, **changes):
    """One that waits for memory: five bytes per multiply-add."""
    return conv(name, ms, macs, channels, kind="depthwise", kernel=9, bytes_moved=5 * macs, **changes)


def move(name, ms, operator="Transpose"):
    return LayerTime(name, operator, operator, "move", ms, 0, 40)


def concluded(before, after, tiles=None):
    """What `explain` puts together: pairs, and the sentence for an interval that is far from 1."""
    times_ms = sum(each.ms for each in before), sum(each.ms for each in after)
    ratio = sum(each.macs for each in after) / sum(each.macs for each in before)
    off = find_off_stair(align(before, after), tiles)
    pairs = attribute_losses(align(before, after), ratio, off)
    interval = (times_ms[1] / times_ms[0] - 0.01, times_ms[1] / times_ms[0] + 0.01)
    return pairs, slowdown.word_the_speed_up(times_ms, interval, macs_ratio=ratio, pairs=pairs, off_stairs=off)


DENSE = (conv("a", 8.0, 8000, 32), depthwise("b", 2.0, 200, 32))


def test_a_width_above_a_tile_and_an_operator_that_appeared_are_named_with_their_milliseconds():
    """Half the multiply-adds promise 5 of 10 ms. `a` takes 5 instead of 4, a transpose 1, `b` half of what it took."""
    cut = (conv("a", 5.0, 4000, 17), move("t", 1.0), depthwise("b", 1.0, 100, 16))
    pairs, said = concluded(DENSE, cut)
    assert [pair.lost_ms for pair in pairs] == pytest.approx([1.0, 1.0, 0.0])
    assert sum(pair.lost_ms for pair in pairs) == pytest.approx(7.0 - 0.5 * 10.0)
    assert said == (
        "1.43x as fast: 0.70x of the time [0.69, 0.71] at 0.50x of the multiply-adds: 2.00 ms above the 5.00 ms that "
        "its multiply-adds promise, with 1.00 ms in operators that appeared (Transpose 0 -> 1); "
        "1.00 ms in layers off the kernels' steps of channels (1: 17 -> 16)"
    )


def test_memory_bound_layers_lose_what_their_bytes_keep():
    """A quarter of the multiply-adds, half of the bytes: `b` is promised 0.5 of its 2 ms by the first, and takes 1."""
    half_of_the_bytes = dataclasses.replace(depthwise("b", 1.0, 50, 16), bytes_moved=500)
    pairs, said = concluded(DENSE, (conv("a", 2.0, 2000, 16), half_of_the_bytes))
    assert pairs[1].lost_ms == pytest.approx(0.5)
    assert "0.500 ms above the 2.50 ms" in said
    assert said.endswith(
        "with 0.500 ms in memory-bound layers (1), which shrink with their channels and not with the square"
    )


def test_a_layer_that_was_cut_less_than_the_network_is_not_blamed_on_its_width():
    dense = (conv("a", 8.0, 8000, 32), conv("c", 2.0, 2000, 32))
    cut = (conv("a", 3.0, 3000, 16), conv("c", 2.0, 2000, 32))
    _, said = concluded(dense, cut)
    assert said.endswith(": as much as its multiply-adds promise")
    pairs, _ = concluded(dense, cut)
    assert [pair.lost_ms for pair in pairs] == pytest.approx([-1.0, 1.0])
    assert {loss.cause for loss in pairs[1].losses if loss.ms} == {"kept"}


def test_operators_that_the_delegate_leaves_are_named():
    dense = tuple(dataclasses.replace(each, delegated=True) for each in DENSE)
    cut = (conv("a", 4.0, 4000, 16, delegated=True), depthwise("b", 4.0, 100, 16, delegated=False))
    _, said = concluded(dense, cut)
    assert said.endswith("with 3.00 ms in operators that the delegate does not take (Conv)")
    assert find_not_delegated(cut).share == 0.5 and find_not_delegated(cut).layers == ("b",)
    assert find_not_delegated(DENSE).layers == ()


def test_as_many_multiply_adds_promise_nothing():
    assert concluded(DENSE, DENSE)[1].endswith(": as good as no multiply-adds are gone")
    assert concluded(DENSE, DENSE)[1].startswith("no speed-up: 1.00x of the time")


@pytest.mark.parametrize(
    ("channels", "tiles", "edge"),
    [(16, None, None), (17, None, 16), (11, None, 8), (5, None, 8), (97, None, 96), (24, {"pointwise": 8}, None)],
)
def test_widths_that_were_cut_are_held_against_the_tile(channels, tiles, edge):
    found = find_off_stair(align(DENSE, (conv("a", 3.0, 4000, channels), depthwise("b", 1.0, 100, 16))), tiles)
    assert [(each.layer, each.edge, each.share) for each in found] == ([] if edge is None else [("a", edge, 0.75)])


def test_a_width_that_was_not_cut_is_nobodys_doing():
    """A thousand classes are no multiple of 16."""
    assert find_off_stair(align((conv("head", 1.0, 10, 1000),), (conv("head", 1.0, 5, 1000),))) == ()


def test_layers_pair_up_around_what_only_one_file_has():
    cut = (move("t", 0.5), conv("a", 4.0, 4000, 16), move("u", 0.5), depthwise("b", 1.0, 100, 16))
    pairs = align(DENSE, cut)
    assert [(pair.before and pair.before.name, pair.after.name) for pair in pairs] == [
        (None, "t"), ("a", "a"), (None, "u"), ("b", "b"),
    ]  # fmt: skip
    assert find_appeared(pairs) == (Appeared("Transpose", 0, 2),)
    assert find_appeared(align(cut, DENSE)) == ()


def test_what_the_runtime_puts_in_parts_no_layers():
    """The longest run of equals is not the right one: behind the one conversion stands the same layer twice."""
    before = (conv("a", 1.0, 10, 32), conv("b", 1.0, 10, 32), move("r", 1.0, "Reorder"), conv("c", 1.0, 10, 32))
    after = (conv("a", 1.0, 10, 32), move("r", 1.0, "Reorder"), conv("b", 1.0, 10, 32), conv("c", 1.0, 10, 32))
    pairs = align(before, after)
    assert [pair.after.name for pair in pairs if pair.before and pair.after] == ["a", "b", "c"]
    assert find_appeared(pairs) == ()


def test_a_layer_is_memory_bound_if_it_is_slow_and_has_little_to_do_on_each_byte():
    slow = conv("slow", 40.0, 8000, 32)
    fast = depthwise("fast", 0.2, 200, 32)
    assert find_memory_bound((*DENSE, slow, fast)).layers == ("b",)
    assert find_memory_bound(DENSE).share == 0.2


def test_an_interval_that_reaches_one_is_no_speed_up(tiny_onnx):
    (found,) = explain(tiny_onnx, tiny_onnx, device=DEVICE)
    judge([dataclasses.replace(found, interval=(0.8, 0.999))])
    with pytest.raises(NoSpeedUp, match=r"not faster: tiny\.onnx: "):
        judge([dataclasses.replace(found, interval=(0.8, 1.0))])


# --- real files ----------------------------------------------------------------------------------------------


def written(network, path):
    plugins.build("exporters", path.suffix[1:]).write(network, path)
    return path


def check_sums(found):
    for times, whole_ms in (
        ([pair.before.ms for pair in found.layers if pair.before], found.before_ms),
        ([pair.after.ms for pair in found.layers if pair.after], found.after_ms),
        ([pair.lost_ms for pair in found.layers], found.after_ms - found.macs_ratio * found.before_ms),
    ):
        assert sum(times) == pytest.approx(whole_ms, rel=1e-6, abs=1e-9)
    assert found.after_ms == pytest.approx(found.ratio * found.before_ms)
    assert found.sentence


def macs(width, classes=5):
    """The multiply-adds of `conv_network`, by hand: 3x3 over 3 channels, 3x3 depthwise, linear."""
    return 16 * 24 * (27 * width + 9 * width) + classes * width


@pytest.mark.heavy
def test_onnx_layers_are_the_profilers_and_add_up_to_the_whole(tmp_path):
    dense, cut = (written(conv_network(width), tmp_path / f"w{width}.onnx") for width in (32, 17))
    found = explained(dense, cut)
    check_sums(found)
    assert found.macs_ratio == pytest.approx(macs(17) / macs(32))
    assert found.source.startswith("onnxruntime's profiler")
    assert {(each.channels, each.tile, each.edge) for each in found.off_stair} == {(17, 16, 16)}
    assert len(found.off_stair) == 2 and found.not_delegated_after.layers == ()
    assert all(pair.before for pair in found.layers if pair.after and pair.after.macs)


@pytest.mark.heavy
@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
def test_files_of_two_outputs_are_explained_as_any_other(suffix, tmp_path):
    """The layers of both ends are timed: a linear one, and one of 1x1 over 16 x 24 places."""
    dense, cut = (written(two_outputs(width), tmp_path / f"w{width}.{suffix}") for width in (32, 17))
    found = explained(dense, cut)
    check_sums(found)
    assert found.macs_ratio == pytest.approx((macs(17) + 16 * 24 * 17) / (macs(32) + 16 * 24 * 32))
    ends = {(pair.after.channels_in, pair.after.channels_out) for pair in found.layers if pair.after and pair.before}
    assert {(17, 1), (17, 5)} <= ends


def test_a_file_against_itself_has_nothing_to_explain(tiny_onnx):
    (found,) = explain(str(tiny_onnx), str(tiny_onnx), device=DEVICE)
    check_sums(found)
    assert found.macs_ratio == 1 and found.appeared == () and found.off_stair == ()
    assert found.sentence.endswith("as good as no multiply-adds are gone")


@pytest.mark.heavy
def test_what_a_device_counts_is_called_by_its_unit_and_never_milliseconds(tmp_path):
    """Files cost a hundred cycles a byte: what is behind the promise is said in cycles, of millions."""
    dense, cut = (written(conv_network(width), tmp_path / f"w{width}.onnx") for width in (64, 17))
    device = FakeDevice(lambda path: 1e2 * path.stat().st_size, "simulated Cortex-A72 cycles", exact=True)
    (found,) = explain(dense, cut, device=device)
    check_sums(found)
    assert found.unit == "simulated Cortex-A72 cycles"
    assert "x of the simulated Cortex-A72 cycles [" in found.sentence
    assert re.search(r"\d\.\d{3}M cycles above the \d+\.\d+M? cycles that its multiply-adds promise", found.sentence)
    assert " ms" not in found.sentence and "time" not in found.sentence


@pytest.mark.heavy
def test_what_the_runtime_puts_in_shows_as_appeared(tmp_path):
    """A transpose in the middle of the network."""
    from torch import nn

    class Turned(nn.Module):
        def forward(self, x):
            return x.transpose(2, 3)

    dense = written(conv_network(16), tmp_path / "dense.onnx")
    network = conv_network(16)
    module = nn.Sequential(*network.module[:3], Turned(), *network.module[3:])
    turned = written(dataclasses.replace(network, module=module), tmp_path / "turned.onnx")
    found = explained(dense, turned)
    check_sums(found)
    assert ("Transpose", 0, 1) in [dataclasses.astuple(each) for each in found.appeared]


@pytest.fixture(scope="module")
def padded(tmp_path_factory):
    """The tiny network with a pooling of stride 2 by a convolution, which the converter pads by itself."""
    from torch import nn

    network = conv_network(13)
    extra = nn.Conv2d(13, 13, 3, stride=2, padding=1, groups=13)
    module = nn.Sequential(*network.module[:5], extra, *network.module[5:])
    return written(
        Network("tests:padded", module, (TINY_SHAPE,), 5), tmp_path_factory.mktemp("padded") / "padded.tflite"
    )


@pytest.mark.heavy
def test_tflite_layers_are_timed_alone_and_a_pad_shows_as_appeared(tiny_tflite, padded):
    found = explained(tiny_tflite, padded)
    check_sums(found)
    assert found.source.startswith("one-operator files") and found.not_timed == ()
    pads = [each for each in found.appeared if each.operator == "PAD"]
    assert len(pads) == 1 and pads[0].after == pads[0].before + 1
    assert found.not_delegated_before.layers == found.not_delegated_after.layers == ()
    assert all(pair.after.delegated for pair in found.layers if pair.after)


@pytest.mark.heavy
def test_a_pad_that_is_computed_with_its_convolution_takes_no_time_of_its_own(padded):
    structure = plugins.build("templates", "tflite").read(padded.read_bytes()).structure
    everything = frozenset(range(len(structure.operators)))
    alone = (1.0,) * len(structure.operators)
    times = {each.name: each.ms for each in assign_times(structure, alone, everything)}
    pads = {name for name in times if name.startswith("PAD")}
    assert pads and {name for name, ms in times.items() if not ms} == pads
    assert all(each.ms == 1.0 and each.delegated is False for each in assign_times(structure, alone, frozenset()))


@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_multiply_adds_are_those_of_the_network(suffix, request):
    path: Path = request.getfixturevalue(f"tiny_{suffix}")
    layers = list_untimed_layers(plugins.build("templates", suffix).read(path.read_bytes()).structure)
    assert sum(each.macs for each in layers) == macs(13)
    weighted = [each for each in layers if each.macs]
    assert [each.kind for each in weighted] == ["convolution", "depthwise", "dense"]
    assert [(each.channels_in, each.channels_out) for each in weighted] == [(3, 13), (13, 13), (13, 5)]


@pytest.mark.heavy
def test_a_run_is_explained_format_by_format(tiny_onnx, tiny_pte, tmp_path, caplog):
    found = explain(exported(tmp_path / "run", [tiny_onnx, tiny_pte]), device=DEVICE)
    assert [(Path(each.before).name, Path(each.after).name) for each in found] == [("dense.onnx", "pruned.onnx")]
    assert "skipped the executorch files" in caplog.text


@pytest.mark.heavy
def test_a_run_whose_files_nothing_takes_apart_is_explained_by_its_whole_files(tiny_pte, tmp_path):
    (found,) = explain(exported(tmp_path / "run", [tiny_pte]), device=DEVICE)
    assert found.layers == () and found.macs_ratio is None
    assert found.sentence.endswith("nothing here takes executorch files apart: their layers have no times")


def test_no_threads_are_refused(tiny_onnx):
    with pytest.raises(ConfigError, match="0 threads"):
        explain(tiny_onnx, tiny_onnx, threads=0)
