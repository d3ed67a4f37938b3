"""Why a smaller network is not faster by as much as its multiply-adds: layers, held against each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from deploy_prune import stats
from deploy_prune.analysis.layer_times import LayerTime
from deploy_prune.formats.templates import OperatorKind
from deploy_prune.timing.devices import MILLISECONDS
from deploy_prune.values import Interval, name_unit

TILE, NARROW_TILE = 16, 8
"""Channels that kernels compute at a time, where the caller knows no better; the second up to 16 channels."""
SLOW = 0.25
"""A layer is slow below this share of the multiply-adds per millisecond that the file's best layer does..."""
FEW_MACS_PER_BYTE = 4.0
"""... and memory-bound if it also does fewer multiply-adds than this on every byte that it moves."""
KEPT = 1.1
"""A time, or a layer's multiply-adds, up to this factor above the whole network's count as that much."""
UNCUT = 0.95
"""A network that keeps more than this share of its multiply-adds has as good as none gone."""
NAMED, SHARE_NAMED = 3, 0.05
"""The sentence names this many causes at the most, none with less than this share of the lost time."""
EXAMPLES = 3


@dataclass(frozen=True)
class Loss:
    """Part of the time that a layer takes above its share of the network's promise, in the device's unit."""

    cause: str
    """A key of `CAUSES`."""
    ms: float
    """What the cause costs; a negative number is a gain."""


@dataclass(frozen=True)
class LayerPair:
    """A layer of both files, or an operator that one of them has alone."""

    before: LayerTime | None
    after: LayerTime | None
    losses: tuple[Loss, ...] = ()

    @property
    def lost_ms(self) -> float:
        """What it takes now above its time before times the network's ratio of multiply-adds."""
        return sum(loss.ms for loss in self.losses)


@dataclass(frozen=True)
class Appeared:
    """Operators that the second file runs more of than the first."""

    operator: str
    before: int
    after: int


@dataclass(frozen=True)
class OffStair:
    """A layer whose channels are no multiple of its kernel's tile: the last tile is paid for in full."""

    layer: str
    channels: int
    tile: int
    edge: int
    """The multiple below, or the first one where there is none."""
    share: float
    """Their part of the file's time, from 0 to 1."""


@dataclass(frozen=True)
class TimeShare:
    """Some layers of a file."""

    share: float
    """Their part of the file's time, from 0 to 1."""
    layers: tuple[str, ...] = ()


def align(before: Sequence[LayerTime], after: Sequence[LayerTime]) -> tuple[LayerPair, ...]:
    """Layers that do the same at whatever widths, in order; what only one file has stands alone.

    The files' own layers are paired first, so that what a runtime puts in between them parts none.
    """
    own = [[index for index, layer in enumerate(layers) if layer.place is not None] for layers in (before, after)]
    matches = _match_layers([before[index] for index in own[0]], [after[index] for index in own[1]])
    anchors = [(own[0][old], own[1][new]) for old, new in matches]
    aligned: list[LayerPair] = []
    start = other = 0
    for old, new in (*anchors, (len(before), len(after))):
        aligned += _pair_between(before[start:old], after[other:new])
        aligned += [LayerPair(*pair) for pair in zip(before[old : old + 1], after[new : new + 1], strict=True)]
        start, other = old + 1, new + 1
    return tuple(aligned)


def _pair_between(before: Sequence[LayerTime], after: Sequence[LayerTime]) -> Iterator[LayerPair]:
    start = other = 0
    for old, new in (*_match_layers(before, after), (len(before), len(after))):
        yield from (LayerPair(layer, None) for layer in before[start:old])
        yield from (LayerPair(None, layer) for layer in after[other:new])
        yield from (LayerPair(*pair) for pair in zip(before[old : old + 1], after[new : new + 1], strict=True))
        start, other = old + 1, new + 1


def _match_layers(before: Sequence[LayerTime], after: Sequence[LayerTime]) -> Iterator[tuple[int, int]]:
    """Places of layers that do the same, in order."""
    matcher = SequenceMatcher(None, list(map(_identify, before)), list(map(_identify, after)), autojunk=False)
    for block in matcher.get_matching_blocks():
        yield from ((block.a + offset, block.b + offset) for offset in range(block.size))


def _identify(layer: LayerTime) -> tuple[str, str, int, int, int]:
    return layer.operator, layer.kind, layer.kernel, layer.stride, layer.positions


def find_appeared(pairs: Iterable[LayerPair]) -> tuple[Appeared, ...]:
    """Operators that the second file runs more of, the most time first; a layer that is run otherwise is none."""
    pairs = tuple(pairs)
    before = Counter(pair.before.operator for pair in pairs if pair.before)
    after = Counter(pair.after.operator for pair in pairs if pair.after)
    new_ms: dict[str, float] = {}
    for pair in pairs:
        if pair.after and not pair.before:
            name = pair.after.operator
            new_ms[name] = new_ms.get(name, 0.0) + pair.after.ms
    names = [name for name in sorted(new_ms, key=lambda each: -new_ms[each]) if after[name] > before[name]]
    return tuple(Appeared(name, before[name], after[name]) for name in names)


def find_off_stair(pairs: Iterable[LayerPair], tiles: Mapping[OperatorKind, int] | None = None) -> tuple[OffStair, ...]:
    """Layers of the second file with channels that were cut to no multiple of a tile; what was not cut is left out."""
    pairs = tuple(pairs)
    total_ms = _sum_ms(pair.after for pair in pairs)
    off = []
    for pair in pairs:
        layer = pair.after
        if layer is None or not layer.channels_out or (pair.before and pair.before.channels_out == layer.channels_out):
            continue
        default = TILE if layer.channels_out > TILE else NARROW_TILE
        tile = (tiles or {}).get(layer.kind, default)
        if layer.channels_out % tile:
            edge = max(layer.channels_out // tile, 1) * tile
            off.append(OffStair(layer.name, layer.channels_out, tile, edge, layer.ms / total_ms))
    return tuple(sorted(off, key=lambda each: -each.share))


def find_memory_bound(layers: Sequence[LayerTime]) -> TimeShare:
    """Layers that wait for memory: slow, and with little to do on each byte. The slowest first."""
    best = max((layer.macs / layer.ms for layer in layers if layer.ms), default=0.0)
    return _gather_share(
        layers,
        lambda layer: layer.macs < SLOW * best * layer.ms and layer.macs < FEW_MACS_PER_BYTE * layer.bytes_moved,
    )


def find_not_delegated(layers: Sequence[LayerTime]) -> TimeShare:
    """Layers that the runtime left to its own slow kernels."""
    return _gather_share(layers, lambda layer: layer.delegated is False)


def _gather_share(layers: Sequence[LayerTime], chosen: Callable[[LayerTime], bool]) -> TimeShare:
    chosen_layers = sorted(filter(chosen, layers), key=lambda layer: -layer.ms)
    return TimeShare(
        sum(layer.ms for layer in chosen_layers) / _sum_ms(layers), tuple(layer.name for layer in chosen_layers)
    )


def _sum_ms(layers: Iterable[LayerTime | None]) -> float:
    return max(sum(layer.ms for layer in layers if layer), 1e-9)


# --- what the time was lost to -----------------------------------------------------------------------------------


CAUSES: Mapping[str, str] = {
    "appeared": "in operators that appeared ({examples})",
    "not delegated": "in operators that the delegate does not take ({examples})",
    "off-stair": "in layers off the kernels' steps of channels ({count}: {examples})",
    "memory-bound": "in memory-bound layers ({count}), which shrink with their channels and not with the square",
    "kept": "in layers that lost fewer of their multiply-adds than the network ({count})",
    "other": "in other layers",
}
"""Cause -> how the sentence says it."""


def attribute_losses(
    pairs: Sequence[LayerPair], macs_ratio: float, off_stairs: Sequence[OffStair]
) -> tuple[LayerPair, ...]:
    """The pairs with what each has lost, and to what.

    A layer's own work (its multiply-adds; its bytes where it waits for memory) may shrink less than the network's:
    that much is lost in any case. What it takes beyond that is the doing of its width, or of something not known.
    The losses of all layers add up to what the network takes above its promise.
    """
    off = frozenset(each.layer for each in off_stairs)
    waiting = {
        name
        for way in zip(*((pair.before, pair.after) for pair in pairs), strict=True)
        for name in _name_memory_bound(way)
    }
    return tuple(replace(pair, losses=tuple(_split_loss(pair, macs_ratio, off, waiting))) for pair in pairs)


def _name_memory_bound(layers: Iterable[LayerTime | None]) -> tuple[str, ...]:
    return find_memory_bound([layer for layer in layers if layer]).layers


def _split_loss(pair: LayerPair, macs_ratio: float, off: Set[str], waiting: Set[str]) -> Iterator[Loss]:
    before, after = pair.before, pair.after
    if before is None or after is None:
        yield Loss("appeared" if after else "other", after.ms if after else -macs_ratio * (before.ms if before else 0))
        return
    if after.delegated is False:
        yield Loss("not delegated", after.ms - macs_ratio * before.ms)
        return
    bound = not before.macs or before.name in waiting or after.name in waiting
    own = after.bytes_moved / max(before.bytes_moved, 1) if bound else after.macs / before.macs
    yield Loss("memory-bound" if bound else "kept", (own - macs_ratio) * before.ms)
    yield Loss("off-stair" if after.name in off else "other", after.ms - own * before.ms)


def word_the_ratio(ratio: float, interval: Interval, unit: str = MILLISECONDS) -> str:
    """How fast the second file is: `1.9x as fast: 0.53x of the time [0.52, 0.53]`; counts are no time."""
    said = f"{ratio:.2f}x of the {'time' if unit == MILLISECONDS else unit} [{interval[0]:.2f}, {interval[1]:.2f}]"
    return f"{1 / ratio:.2f}x as fast: {said}" if interval[1] < 1 else f"no speed-up: {said}"


def word_the_speed_up(
    times_ms: tuple[float, float],
    interval: Interval,
    *,
    unit: str = MILLISECONDS,
    macs_ratio: float,
    pairs: Sequence[LayerPair],
    off_stairs: Sequence[OffStair],
) -> str:
    """Why the speed-up is what it is: every number in it is one of these values."""
    before_ms, after_ms = times_ms
    ratio = after_ms / before_ms
    head = f"{word_the_ratio(ratio, interval, unit)} at {macs_ratio:.2f}x of the multiply-adds"
    if macs_ratio > UNCUT:
        return f"{head}: as good as no multiply-adds are gone"
    if ratio <= KEPT * macs_ratio:
        return f"{head}: as much as its multiply-adds promise"
    lost_ms = after_ms - macs_ratio * before_ms
    lost, due = (_format_amount(amount, unit) for amount in (lost_ms, macs_ratio * before_ms))
    promise = f"{lost} above the {due} that its multiply-adds promise"
    return f"{head}: {promise}, with {_name_causes(pairs, lost_ms, off_stairs, unit)}"


def _name_causes(pairs: Sequence[LayerPair], lost_ms: float, off_stairs: Sequence[OffStair], unit: str) -> str:
    """The causes, the one with the most time first."""
    losses = {cause: [pair for pair in pairs if _sum_lost(pair, cause) > 0] for cause in CAUSES}
    lost = {cause: sum(_sum_lost(pair, cause) for pair in pairs) for cause in CAUSES}
    named = [cause for cause in sorted(CAUSES, key=lambda each: -lost[each]) if lost[cause] >= SHARE_NAMED * lost_ms]
    operators = {cause: [pair.after.operator for pair in losses[cause] if pair.after] for cause in CAUSES}
    more = [f"{each.operator} {each.before} -> {each.after}" for each in find_appeared(pairs)]
    examples = {
        "appeared": more or list(dict.fromkeys(operators["appeared"])),
        "not delegated": list(dict.fromkeys(operators["not delegated"])),
        "off-stair": list(dict.fromkeys(f"{each.channels} -> {each.edge}" for each in off_stairs)),
    }
    texts = [
        f"{_format_amount(lost[cause], unit)} "
        + CAUSES[cause].format(count=len(losses[cause]), examples=_list_examples(examples.get(cause, [])))
        for cause in named[:NAMED]
    ]
    return "; ".join(texts) or "no layer that stands out"


def _format_amount(amount: float, unit: str) -> str:
    digits = 2 if 1 <= amount < stats.MANY else 3
    return f"{stats.write_amount(amount, digits)} {name_unit(unit)}"


def _sum_lost(pair: LayerPair, cause: str) -> float:
    return sum(loss.ms for loss in pair.losses if loss.cause == cause)


def _list_examples(examples: Sequence[str]) -> str:
    return ", ".join(examples[:EXAMPLES]) + (", ..." if len(examples) > EXAMPLES else "")
