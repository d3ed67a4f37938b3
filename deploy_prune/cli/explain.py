"""`deploy-prune explain`: why a file is (or is not) faster than the one it was cut from, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploy_prune.cli.options import DeviceAddress, Json
from deploy_prune.cli.output import make_error_record, say, show_json, show_progress, show_table
from deploy_prune.errors import NoSpeedUp
from deploy_prune.stats import write_amount
from deploy_prune.timing.devices import THIS_MACHINE, device_at
from deploy_prune.values import name_unit

if TYPE_CHECKING:
    from deploy_prune.analysis.explanation import Explanation
    from deploy_prune.analysis.slowdown import LayerPair, TimeShare
    from deploy_prune.results import PlanResult

Before = Annotated[Path, typer.Argument(metavar="RUN|FILE", help="A run folder, or the file to compare with.")]
After = Annotated[
    Path | None, typer.Argument(metavar="FILE", help="The file to explain, of the same format.", show_default=False)
]
Count = Annotated[int, typer.Option("--threads", metavar="N", min=1, help="Threads of the runtime.")]
All = Annotated[bool, typer.Option("--all", help="Every layer, not the 25 that lost the most time.")]
Overlay = Annotated[
    Path | None,
    typer.Option("--overlay", metavar="DIR", help="Write time and error per node of .tflite files for Model Explorer."),
]

SHOWN = 25
COLUMNS = ("layer", "operator", "channels", "{unit} before", "{unit} after", "{unit} lost", "to")


def explain(
    before: Before,
    after: After = None,
    threads: Count = 1,
    device: DeviceAddress = THIS_MACHINE,
    every: All = False,
    overlay: Overlay = None,
    as_json: Json = False,
) -> int:
    """Say why a pruned file is as fast as it is.

    Two files of one format, or the dense and the pruned file of every format of a run: both are timed, whole and layer
    by layer. What is lost is what a layer takes above its time before times the whole network's ratio of multiply-adds.
    A run folder remembers it for the page of `report`; --overlay writes what Model Explorer shows on its graph. Of a
    run by obs it also shows what each group loses in output error, and saves, at its widths.
    Exit code 6: a file is not faster.
    """
    from deploy_prune.analysis.explain import explain as compare_layers
    from deploy_prune.analysis.explain import keep_explanations
    from deploy_prune.analysis.report_curves import read_planning

    with show_progress(as_json=as_json) as told:
        explanations = compare_layers(before, after, threads=threads, device=device_at(device), progress=told)
    planned = read_planning(before) if after is None else None
    if after is None:
        keep_explanations(before, explanations)
    if overlay is not None:
        _write_overlays(before if after is None else None, explanations, overlay, device, as_json=as_json)
    return show_verdict(explanations, planned, every=every, as_json=as_json)


def _write_overlays(
    run: Path | None, explanations: Sequence[Explanation], folder: Path, device: str, *, as_json: bool
) -> None:
    from deploy_prune.analysis.artifacts import artifacts_of_run
    from deploy_prune.analysis.model_explorer import write_overlays

    artifacts = artifacts_of_run(run).artifacts if run is not None else ()
    written = write_overlays(explanations, artifacts, folder, device_at(device))
    if not as_json:
        say(f"for Model Explorer: {', '.join(map(str, written))}\n")


def show_verdict(
    explanations: Sequence[Explanation],
    planned: PlanResult | None = None,
    *,
    every: bool = False,
    as_json: bool = False,
) -> int:
    """The explanations, what the run's groups lose at their widths, then what it all comes to: the exit code.

    Raises:
        NoSpeedUp: a file is not faster; with JSON that is part of the one document.
    """
    from deploy_prune.analysis.explain import judge

    if not as_json:
        if planned is not None and planned.curves:
            show_curves(planned)
        for explanation in explanations:
            show_explanation(explanation, every=every)
        judge(explanations)
        return 0
    curves = planned.curves if planned is not None else ()
    try:
        judge(explanations)
    except NoSpeedUp as verdict:
        # Both are one object: stdout holds one JSON document, whatever the outcome.
        show_json(explanations=explanations, curves=curves, error=make_error_record(verdict))
        return verdict.exit_code
    show_json(explanations=explanations, curves=curves)
    return 0


def show_curves(planned: PlanResult) -> None:
    """A row per group: at which widths it loses how much, and what it saves."""
    from deploy_prune.analysis.report_curves import explain_columns, list_columns, list_rows

    show_table("What each group loses", list_columns(planned), list_rows(planned))
    say(f"{explain_columns(planned)}\n")


def show_explanation(explanation: Explanation, *, every: bool) -> None:
    """The layers that lost the most, what there is to say of the whole, and the sentence."""
    pairs = sorted(explanation.layers, key=lambda pair: -pair.lost_ms)
    shown = pairs if every else pairs[:SHOWN]
    if shown:
        columns = [column.format(unit=name_unit(explanation.unit)) for column in COLUMNS]
        show_table(f"{explanation.before} -> {explanation.after}", columns, [_make_row(pair) for pair in shown])
    if left := len(pairs) - len(shown):
        say(f"{left} more layers with --all.")
    show_table("Of the whole file", ("", "is"), _list_facts(explanation))
    say(f"{explanation.sentence}.\n")


def _make_row(pair: LayerPair) -> tuple[str, ...]:
    named = pair.after or pair.before
    assert named is not None
    run_as = dict.fromkeys(layer.run_as for layer in (pair.before, pair.after) if layer)
    ways = dict.fromkeys(
        f"{layer.channels_in} > {layer.channels_out}"
        for layer in (pair.before, pair.after)
        if layer and layer.channels_out
    )
    worst = max(pair.losses, key=lambda loss: loss.ms)
    return (
        _escape(named.name),
        f"{' -> '.join(run_as)} ({named.kind})",
        ", now ".join(ways),
        write_amount(pair.before.ms) if pair.before else "-",
        write_amount(pair.after.ms) if pair.after else "-",
        write_amount(pair.lost_ms),
        worst.cause if worst.ms > 0 else "",
    )


def _list_facts(explanation: Explanation) -> list[tuple[str, str]]:
    target, (low, high) = explanation.target, explanation.interval
    appeared = [f"{each.operator} {each.before} -> {each.after}" for each in explanation.appeared]
    off = [f"{each.channels} -> {each.edge}" for each in explanation.off_stair]
    share = sum(each.share for each in explanation.off_stair)
    return [
        ("runtime", f"{target.runtime} {target.runtime_version}, threads: {target.threads}"),
        (
            f"{explanation.unit} before, after",
            f"{write_amount(explanation.before_ms)}, {write_amount(explanation.after_ms)}",
        ),
        ("after / before", f"{explanation.ratio:.3f} [{low:.3f}, {high:.3f}]"),
        ("multiply-adds after / before", _write_ratio(explanation.macs_ratio)),
        ("operators that appeared", ", ".join(map(_escape, appeared)) or "none"),
        ("off-stair", f"{len(off)} layers with {share:.1%} of the time: {_name_some(off)}" if off else "none"),
        ("memory-bound", _write_shares(explanation.memory_bound_before, explanation.memory_bound_after)),
        ("not delegated", _write_shares(explanation.not_delegated_before, explanation.not_delegated_after)),
        ("times of layers", explanation.source),
        ("without a time", ", ".join(map(_escape, explanation.not_timed)) or "none"),
    ]


def _write_ratio(ratio: float | None) -> str:
    return "not known" if ratio is None else f"{ratio:.3f}"


def _write_shares(before: TimeShare, after: TimeShare) -> str:
    return f"{before.share:.1%} of the time before, {after.share:.1%} after ({len(after.layers)} layers)"


def _name_some(texts: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(texts))
    return ", ".join(distinct[:8]) + (", ..." if len(distinct) > 8 else "")


def _escape(text: str) -> str:
    """Words that a file chose: none of them may steer the terminal."""
    return "".join(each if each.isprintable() else "?" for each in text)
