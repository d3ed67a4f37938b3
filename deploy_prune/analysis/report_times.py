"""How fast the files of a run are, as tables and sentences of its report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from deploy_prune import stats
from deploy_prune.analysis.bench import group_by_network
from deploy_prune.results import RunSummary
from deploy_prune.values import Interval, Measurement

SPEED = {
    "faster": "Faster than the dense network wherever it was timed.",
    "not timed": "**Not timed**.",
    "not verified": "",
}


def write_speed(summary: RunSummary) -> str:
    """Where the pruned files are faster than the dense ones, and where they are not."""
    if summary.outcome != "no speed-up":
        return SPEED[summary.outcome]
    slow = {name_timed(item) for item in summary.not_faster}
    fast = [name for name in map(name_timed, summary.speedups) if name not in slow]
    named = ", ".join(name for name in map(name_timed, summary.speedups) if name in slow)
    return f"**Not faster** than the dense network: {named}." + (f" Faster: {', '.join(fast)}." if fast else "")


def name_timed(item: Measurement) -> str:
    """`pruned.onnx (1 thread)`."""
    return f"{Path(item.artifact).name} ({item.target.threads} thread{'s' * (item.target.threads != 1)})"


def list_time_rows(measurements: Sequence[Measurement]) -> list[tuple[str, ...]]:
    """A row per file, under `name_time_columns`: its median, and its ratio to the dense file."""
    return [
        (
            Path(item.artifact).name,
            f"{item.target.runtime} {item.target.runtime_version}",
            str(item.target.threads),
            stats.write_with_interval(item.median, item.interval),
            _format_ratio(item),
        )
        for item in measurements
    ]


def name_time_columns(measurements: Sequence[Measurement]) -> tuple[str, ...]:
    """The head of a table of what was timed, which is something."""
    return ("file", "runtime", "threads", f"median {measurements[0].unit}", "time / dense")


def write_times(measurements: Sequence[Measurement]) -> str:
    """A table of Markdown with its note."""
    if not measurements:
        return "Not timed."
    table = write_table(name_time_columns(measurements), list_time_rows(measurements))
    return f"{table}\n\nMedian with its bootstrap interval; files of one session took turns on the same cores."


def _format_ratio(item: Measurement) -> str:
    if item.ratio is None or item.ratio_interval is None:
        return "reference"
    ratio = stats.write_with_interval(item.ratio, item.ratio_interval)
    return f"{ratio} = {_word_speed(item.ratio, item.ratio_interval)}"


def _word_speed(ratio: float, interval: Interval) -> str:
    """In words; where the interval reaches 1, nobody has won."""
    words = {"faster": f"{1 / ratio:.2f}x faster", "slower": f"{ratio:.2f}x slower", "level": "level"}
    return words[stats.word_ratio(interval)]


def write_formats(measurements: Sequence[Measurement]) -> str:
    """A column per format; empty, where no network was timed in two."""
    groups = group_by_network(measurements)
    if not groups:
        return ""
    formats = dict.fromkeys(_name_format(item) for group in groups for item in group)
    rows = []
    for group in groups:
        cells = {_name_format(item): _format_time(item) for item in group}
        row = (Path(group[0].artifact).stem, str(group[0].target.threads), *(cells.get(name, "") for name in formats))
        rows.append(row)
    table = write_table(("network", "threads", *(f"{name} {measurements[0].unit}" for name in formats)), rows)
    note = 'Formats of one network, with time / time of the first; "level": the interval reaches 1.'
    return f"{table}\n\n{note}"


def _name_format(item: Measurement) -> str:
    return Path(item.artifact).suffix[1:]


def _format_time(item: Measurement) -> str:
    if item.format_ratio is None or item.format_ratio_interval is None:
        return stats.write_amount(item.median)
    interval = item.format_ratio_interval
    ratio = stats.write_with_interval(item.format_ratio, interval)
    return f"{stats.write_amount(item.median)}, {ratio} = {_word_speed(item.format_ratio, interval)}"


def write_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
