"""`deploy-prune bench`: time exported files against each other, in turns on the same cores."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy_prune.cli.options import DeviceAddresses, Json, Threads, parse_integers
from deploy_prune.cli.output import make_error_record, say, show_json, show_progress, show_table
from deploy_prune.errors import ConfigError
from deploy_prune.timing.devices import MILLISECONDS, THIS_MACHINE, device_at

if TYPE_CHECKING:
    from deploy_prune.analysis.artifacts import Choice
    from deploy_prune.timing.devices import Device
    from deploy_prune.timing.sustained import Sustained
    from deploy_prune.values import Interval, Measurement

Files = Annotated[
    list[Path], typer.Argument(metavar="FILE|RUN...", help="Exported files, or run folders for the files in them.")
]

Lasting = Annotated[
    str | None,
    typer.Option("--sustained", metavar="10min", help="Run each file that long without a pause, and see if it slows."),
]
COMPARED = ("time / first [95 %]", "result")


DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|min|h)")
SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def bench(
    files: Files,
    threads: Threads = "1",
    device: DeviceAddresses = None,
    sustained: Lasting = None,
    as_json: Json = False,
) -> None:
    """Time exported files on this machine, or on other devices.

    The files take turns on the same cores, the first one before and after every block of another. Networks of one
    format are compared with the first file of that format, formats of one network (files that
    deploy-prune wrote name theirs) with its first file. A run folder stands for the files that it exported last.
    With --sustained each file runs by itself without a pause: the last minute beside the first.
    Several devices are timed at once, each by itself.
    """
    counts = parse_integers("--threads", threads) or (1,)
    seconds = None if sustained is None else parse_duration(sustained)
    from deploy_prune.analysis.artifacts import choose_artifacts, warn_of_skipped
    from deploy_prune.timing.bench import time_in_turns

    places = {address: device_at(address) for address in device or [THIS_MACHINE]}
    chosen = choose_artifacts(files)
    warn_of_skipped(chosen)
    if len(places) > 1:
        _bench_several(chosen, places, seconds, counts, as_json=as_json)
        return
    (place,) = places.values()
    if seconds is not None:
        _bench_sustained(chosen, place, seconds, counts, as_json=as_json)
        return
    with show_progress(as_json=as_json) as told:
        measurements = time_in_turns(chosen.artifacts, place, threads=counts, progress=told)
    show_times(measurements, chosen, as_json=as_json)


def _bench_several(
    chosen: Choice, places: Mapping[str, Device], seconds: float | None, counts: Sequence[int], *, as_json: bool
) -> None:
    """Tables by device; one that fails is told of after them, and ends the command."""
    from deploy_prune.timing.several import time_on_devices

    if seconds is not None:
        raise ConfigError("--sustained takes one device", hint="run it once for each")
    with show_progress(as_json=as_json) as told:
        times = time_on_devices(chosen.artifacts, places, threads=counts, progress=told)
    devices = {each.address: each.measurements for each in times if not each.error}
    failed = {each.address: each.error for each in times if each.error}
    if as_json:
        errors = {address: make_error_record(error) for address, error in failed.items()}
        show_json(devices=devices, failed=errors, skipped=chosen.skipped)
    for address, measurements in () if as_json else devices.items():
        say(f"{address}:")
        show_measurements(measurements)
    for address, error in failed.items():
        say(f"error: {address}: {error.message}", err=True)
        if error.hint:
            say(f"hint: {error.hint}", err=True)
    for error in failed.values():
        raise typer.Exit(error.exit_code)


def parse_duration(text: str) -> float:
    """The seconds of `90s`, `10min` or `1h`.

    Raises:
        ConfigError: it is none of these.
    """
    match = DURATION.fullmatch(text)
    if not match:
        raise ConfigError(f"--sustained '{text}' is no time", hint="such as 90s, 10min or 1h")
    return float(match[1]) * SECONDS[match[2]]


def _bench_sustained(chosen: Choice, place: Device, seconds: float, counts: Sequence[int], *, as_json: bool) -> None:
    from deploy_prune.timing.sustained import run_sustained

    if len(counts) > 1:
        raise ConfigError("--sustained takes one count of threads", hint="run it once for each")
    with show_progress(as_json=as_json) as told:
        results = run_sustained(chosen.artifacts, place, seconds, threads=counts[0], progress=told)
    if as_json:
        show_json(sustained=results, skipped=chosen.skipped)
    else:
        show_sustained(results)


def show_sustained(results: Sequence[Sustained]) -> None:
    """A row per file, and which of them change places."""
    from deploy_prune.stats import write_amount
    from deploy_prune.timing.sustained import find_overtaken

    window, unit = results[0].window_s, results[0].unit
    columns = (
        "file",
        "runtime",
        "threads",
        f"first {window:g} s, {unit}",
        f"last {window:g} s, {unit}",
        "last / first",
        "",
    )
    rows = [
        (each.artifact, f"{each.target.runtime} {each.target.runtime_version}", str(each.target.threads),
         write_amount(each.first), write_amount(each.steady), f"{each.steady / each.first:.3f}",
         "" if each.settled else "has not settled: run it longer")
        for each in results
    ]  # fmt: skip
    show_table("Without a pause", columns, rows)
    for faster, slower in find_overtaken(results):
        say(f"{faster} is faster than {slower} at last, and was slower at first")


def show_times(measurements: tuple[Measurement, ...], chosen: Choice, *, as_json: bool = False) -> None:
    """All figures and what was skipped as JSON, or the tables."""
    if as_json:
        show_json(measurements=measurements, skipped=chosen.skipped)
    else:
        show_measurements(measurements)


def show_measurements(measurements: tuple[Measurement, ...]) -> None:
    """One row per file and thread count, then a table for each question that these files answer."""
    from deploy_prune.analysis.bench import list_best_threads

    unit = next((item.unit for item in measurements), MILLISECONDS)
    columns = ("file", "runtime", "threads", f"median {unit} [95 %]", f"p90 {unit}", "load ms", "peak MB")
    show_table("Time of one inference", columns, [_make_row(measurement) for measurement in measurements])
    if networks := _list_networks(measurements):
        show_table("Networks of one format", ("file", "runtime", "threads", *COMPARED), networks)
    if formats := _list_formats(measurements):
        show_table("Formats of one network", ("file", "format", "threads", f"median {unit}", *COMPARED), formats)
    for line in _list_left_over(measurements):
        say(line)
    for best in list_best_threads(measurements):
        say(f"{best.artifact} is fastest with {best.target.threads} threads")


def _make_row(measurement: Measurement) -> tuple[str, ...]:
    from deploy_prune.stats import write_amount, write_with_interval

    target = measurement.target
    return (
        measurement.artifact,
        f"{target.runtime} {target.runtime_version}",
        str(target.threads),
        write_with_interval(measurement.median, measurement.interval),
        write_amount(measurement.p90),
        f"{measurement.load_ms:.1f}",
        f"{measurement.peak_memory_bytes / 1e6:.0f}",
    )


def _list_left_over(measurements: Iterable[Measurement]) -> list[str]:
    """What a delegate does not take as a whole, a line per file: it runs, but elsewhere, or goes back and forth."""
    told = {(item.artifact, each) for item in measurements if (each := item.delegation)}
    return [
        f"{artifact}: the delegate took {each.taken} of {each.operators} operators, in {each.partitions} parts"
        for artifact, each in sorted(told, key=lambda pair: pair[0])
        if each.taken < each.operators or each.partitions > 1
    ]


def _list_networks(measurements: Iterable[Measurement]) -> list[tuple[str, ...]]:
    from deploy_prune.analysis.bench import group_by_target

    return [
        (
            item.artifact,
            item.target.runtime,
            str(item.target.threads),
            *_make_compared_cells(item.ratio, item.ratio_interval),
        )
        for group in group_by_target(measurements)
        for item in group
    ]


def _list_formats(measurements: Iterable[Measurement]) -> list[tuple[str, ...]]:
    from deploy_prune.analysis.bench import group_by_network
    from deploy_prune.stats import write_amount

    return [
        (
            item.artifact,
            Path(item.artifact).suffix[1:],
            str(item.target.threads),
            write_amount(item.median),
            *_make_compared_cells(item.format_ratio, item.format_ratio_interval),
        )
        for group in group_by_network(measurements)
        for item in group
    ]


def _make_compared_cells(ratio: float | None, interval: Interval | None) -> tuple[str, str]:
    from deploy_prune.stats import word_ratio, write_with_interval

    if ratio is None or interval is None:
        return "", "first"
    return write_with_interval(ratio, interval), word_ratio(interval)
