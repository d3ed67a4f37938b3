"""A run folder's records as a page: accuracy against time, widths, milliseconds, files, conditions, the command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deploy_prune import stats
from deploy_prune.analysis.explain import EXPLAINED
from deploy_prune.analysis.explanation import Explanation
from deploy_prune.analysis.page import charts
from deploy_prune.analysis.page.sections import Card, Page, Section, Table
from deploy_prune.analysis.report import (
    FILE_HEAD,
    NETWORK_HEAD,
    SUMMARY,
    WIDTH_HEAD,
    format_points,
    list_file_rows,
    list_network_rows,
    list_width_rows,
    write_outcome,
)
from deploy_prune.analysis.report_curves import explain_columns, list_columns, list_rows
from deploy_prune.analysis.report_times import list_time_rows, name_time_columns
from deploy_prune.analysis.skipped_images import write_skipped_images
from deploy_prune.records import read_record
from deploy_prune.results import RunSummary
from deploy_prune.run_folder import read_asked
from deploy_prune.values import Conditions, Measurement, name_unit

REFIT_HEAD = ("layer", "error before", "error after", "ridge", "condition", "rows", "new weights")


def describe_run(run: Path) -> Page:
    """The page of a finished run.

    Raises:
        RecordError: not a run folder, or its records are damaged or not there yet.
    """
    asked = read_asked(run)
    summary = read_record(run / SUMMARY, RunSummary)
    title = f"{asked.get('model')} on {asked.get('data')}, {summary.plan.plan.budget}"
    cautions = tuple(filter(None, (summary.dense.caution, write_skipped_images(run))))
    sections = (*list_run_sections(run, summary), describe_asked(run, asked))
    return Page(title, _plain(write_outcome(summary)), list_cards(summary), sections, cautions)


def list_cards(summary: RunSummary) -> tuple[Card, ...]:
    """The figures that a reader looks for first."""
    test, cut, dense = summary.test, summary.cut.count, summary.dense.count
    cards = [
        Card(f"{test.pruned.name} on test", stats.write_percent(test.pruned.value),
             f"dense {stats.write_percent(test.dense.value)}; {format_points(test.difference, test.interval)}"),
    ]  # fmt: skip
    cards += [
        Card(f"time / dense, {charts.name_timing(item)}",
             f"{item.ratio:.3f}", f"95 %: {item.ratio_interval[0]:.3f} to {item.ratio_interval[1]:.3f}")
        for item in summary.speedups
        if item.ratio is not None and item.ratio_interval is not None
    ]  # fmt: skip
    cards.append(Card("MACs", f"{cut.macs / dense.macs:.3f}x", f"{cut.macs:,} of {dense.macs:,}"))
    cards.append(Card("parameters", f"{cut.params / dense.params:.3f}x", f"{cut.params:,} of {dense.params:,}"))
    return tuple(cards)


def list_run_sections(run: Path, summary: RunSummary) -> Iterator[Section]:
    """All of a run but how it was asked for; parts that its records do not have are left out."""
    test, timed = summary.test, summary.speedups
    tradeoff = (charts.draw_tradeoff(test.dense, test.pruned, timed),) if timed else ()
    network = Table.of(NETWORK_HEAD, ([_plain(cell) for cell in row] for row in list_network_rows(summary)))
    yield Section("Network", "Intervals are 95 %; the change on test is paired by image.", tradeoff, (network,))
    yield from _list_layers(run)
    widths = Table.of(WIDTH_HEAD, list_width_rows(summary), filtered=True)
    yield Section("Widths", "", (charts.draw_widths(summary.plan.groups),), (widths,))
    if summary.plan.curves:
        table = Table.of(list_columns(summary.plan), list_rows(summary.plan), filtered=True)
        drawn = (charts.draw_curves(summary.plan), charts.draw_stairs(summary.plan))
        yield Section("Curves", explain_columns(summary.plan), drawn, (table,))
    yield from _list_refit(summary)
    yield Section("Files", "", (), (Table.of(FILE_HEAD, list_file_rows(summary)),))
    yield from _list_times(summary.bench.measurements)


def _list_layers(run: Path) -> Iterator[Section]:
    """Where the time went, once `deploy-prune explain` has looked."""
    title = "Where the time went"
    if not (run / EXPLAINED).is_file():
        yield Section(title, "Layer by layer: type this, and write the page again.",
                      code=f"deploy-prune explain {shlex.quote(str(run))}")  # fmt: skip
        return
    explained = read_record(run / EXPLAINED, tuple[Explanation, ...])
    text = " ".join(f"{Path(each.after).name}: {each.sentence}." for each in explained)
    known = [each for each in explained if each.layers]
    drawn = tuple(charts.draw_layers(Path(each.after).suffix[1:], each) for each in known)
    yield Section(title, text, drawn, tuple(_list_pairs(each) for each in known))


def _list_pairs(explained: Explanation) -> Table:
    edges = {each.layer: f"{each.channels}, edge at {each.edge}" for each in explained.off_stair}
    rows = []
    for pair in explained.layers:
        named = pair.after or pair.before
        assert named is not None
        rows.append((named.name, named.run_as, *("" if each is None else stats.write_amount(each.ms, 4) for each in
                                                 (pair.before, pair.after)),
                     stats.write_amount(pair.lost_ms, 4), edges.get(named.name, "")))  # fmt: skip
    unit = name_unit(explained.unit)
    head = ("layer", "operator", f"{unit} before", f"{unit} after", f"{unit} lost", "off its stair")
    note = f"{Path(explained.after).name} against {Path(explained.before).name}; times {explained.source}."
    return Table.of(head, rows, note, filtered=True)


def _list_refit(summary: RunSummary) -> Iterator[Section]:
    refit = summary.cut.refit
    if refit is None:
        return
    text = (
        f"{refit.kept} of {len(refit.layers)} layers behind the first change have new weights, fitted by least squares "
        f"on {refit.images} training images without labels (sha256 {refit.images_sha256[:12]}); {refit.chosen} went on."
    )
    rows = [
        (layer.name, _format(layer.error_before), _format(layer.error_after),
         "" if layer.ridge is None else f"{layer.ridge:g}", "" if layer.condition is None else f"{layer.condition:.0f}",
         f"{layer.rows:,}", "yes" if layer.kept else layer.skipped or "no")
        for layer in refit.layers
    ]  # fmt: skip
    compared = [(name, _format(error)) for name, error in sorted(refit.errors.items(), key=lambda item: item[1])]
    tables = (Table.of(("network", "error of its outputs"), compared), Table.of(REFIT_HEAD, rows, filtered=True))
    yield Section("Refit", text, (charts.draw_refit(refit),), tables)


def _list_times(measurements: tuple[Measurement, ...]) -> Iterator[Section]:
    if not measurements:
        return
    rows = [
        (Path(item.artifact).name, item.target.device, item.target.precision, f"{item.load_ms:.1f}",
         f"{item.peak_memory_bytes / 2**20:.0f}", str(len(item.blocks)), str(item.repeated),
         _describe(item.before), _describe(item.after))
        for item in measurements
    ]  # fmt: skip
    conditions = ("file", "device", "precision", "load ms", "peak MiB", "blocks", "repeated", "before", "after")
    text = "Medians with bootstrap intervals; files of one session took turns on the same cores."
    times = Table.of(name_time_columns(measurements), list_time_rows(measurements))
    yield Section("Time", text, (), (times, Table.of(conditions, rows)))


def _describe(conditions: Conditions) -> str:
    told = {
        "load": conditions.load, "MHz": conditions.frequency_mhz, "governor": conditions.governor,
        "°C": conditions.temperature_c, "cores": ",".join(map(str, conditions.affinity)),
        "throttled": conditions.throttled,
    }  # fmt: skip
    return ", ".join(f"{name} {value}" for name, value in told.items() if value not in (None, ""))


def describe_asked(folder: Path, asked: dict[str, Any], budgets: Sequence[str] = ()) -> Section:
    """The command that does it again, a front with all its budgets, and every setting."""
    text = "The settings of this folder, which the command takes from it; a folder of its own holds the result."
    if "plan_sha256" in asked:
        text += f" It takes --plan as well, with the file whose sha256 is {asked['plan_sha256']}."
    several = ["--budget", ",".join(budgets)] if budgets else []
    rows = [(key, value if isinstance(value, str) else json.dumps(value)) for key, value in asked.items()]
    command = shlex.join(["deploy-prune", "prune", "--config", str(folder), *several, "--out", "again"])
    return Section("Again", text, (), (Table.of(("setting", "value"), rows, filtered=True),), command)


def _format(error: float | None) -> str:
    return "" if error is None else f"{error:.4f}"


def _plain(markdown: str) -> str:
    return markdown.replace("**", "")
