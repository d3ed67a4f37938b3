"""The tables of RESULTS.md that speak of networks, files and milliseconds: a section per record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import tables_checks, tables_methods, tables_selections, tables_simulated
from benchmarks.markdown import Row, below, percent, points, table, titled
from deploy_prune.schema_1 import upgrade


def _demo(record: dict[str, Any]) -> str:
    low, high = record["points_interval"]
    rows: list[Row] = [
        ("whole demo", f"{record['seconds']:.0f} s"),
        ("MACs kept", f"{record['macs_kept']:.3f}x"),
        ("dense test accuracy", f"{record['dense_test']:.2%} of {record['test_images']} images"),
        ("pruned test accuracy", f"{record['pruned_test']:.2%}"),
        ("change, paired", f"{record['points']:+.2f} points [{low:+.2f}, {high:+.2f}]"),
    ]
    for item in record["times"]:
        low, high = item["ratio_interval"]
        rows.append((f"time / dense on {item['runtime']}, {item['threads']} thread",
                     f"{item['ratio']:.3f} [{low:.3f}, {high:.3f}]: {1 / item['ratio']:.2f}x as fast"))  # fmt: skip
    for item in record["files"]:
        parity = item["parity"]
        rows.append((f"{item['format']} file", f"{item['status']}, max error {parity['max_error']:.1e}, "
                     f"same top-1 on {parity['agreement']:.0%} of {parity['images']} images"))  # fmt: skip
    return titled(record, "The demo: a small MobileNetV2 on digits, half its LiteRT time by obs", table(("", ""), rows))


def _cifar(record: dict[str, Any]) -> str:
    rows: list[Row] = []
    for name, network in record["networks"].items():
        for arm, row in network["arms"].items():
            label = "dense, same extra epochs" if arm == "control" else arm
            rows.append((name, label, f"{row['macs_kept']:.3f}x", f"{row['params_kept']:.3f}x",
                         percent(row["val_after_cut"]), percent(row["val_recalibrated"]),
                         " / ".join(f"{test:.2%}" for test in row["test"]), _against(row, arm)))  # fmt: skip
    head = (
        "network",
        "channels by",
        "MACs",
        "params",
        "val, cut",
        "val, norms anew",
        "test per seed",
        "points to control",
    )
    dense = ", ".join(f"{name} {row['dense']:.2%} (published {row['published']:.2%})"
                      for name, row in record["networks"].items())  # fmt: skip
    note = f"Dense before: {dense}. Fine-tuned alike: 10,000 images x 3 epochs. Intervals are 95 %, paired by image."
    return titled(record, "CIFAR-10 (JPEG) at half the MACs", table(head, rows), note)


def _against(row: dict[str, Any], arm: str) -> str:
    if arm == "control":
        return "-"
    return "; ".join(map(points, row["against_control"]))


def _families(record: dict[str, Any]) -> str:
    rows: list[Row] = [
        (name, f"{row['macs'] / 1e9:.2f} G", f"{row['macs_kept']:.3f}x", "yes" if row["recount_exact"] else "**no**",
         "norms cross channels" if row["law_error"] is None
         else f"{row['law_error']:.0e} / {row['law_error_float32']:.0e}",
         f"{row['locked_share']:.1%}", f"{row['free_groups']} of {row['groups']}", f"{row['settled_s']:.2f}")
        for name, row in record["networks"].items()
    ]  # fmt: skip
    head = (
        "network",
        "MACs",
        "kept",
        "recount exact",
        "cut vs zeroed, float64 / 32",
        "channels locked",
        "free groups",
        "trace + check, s",
    )
    note = "Random weights and channels; float32 is not held to a limit. Locked: of all but input and output channels."
    return titled(record, "Every CNN family of torchvision", table(head, rows), note)


def _trace_speed(record: dict[str, Any]) -> str:
    rows: list[Row] = [
        (name, f"{row['traced_s']:.2f}", f"{row['settled_s']:.2f}", f"{row['torch_pruning_s']:.2f}",
         f"{row['torch_pruning_over_traced']:.2f}")
        for name, row in record["networks"].items()
    ]  # fmt: skip
    version = record["machine"]["packages"]["torch-pruning"]
    head = (
        "network",
        "traced and grouped, s",
        "with the baked-in check, s",
        f"Torch-Pruning {version}, s",
        "its time / ours",
    )
    gates = {below(f"{name}, traced and grouped", row["limit_s"], "s"): row["traced_s"] <= row["limit_s"]
             for name, row in record["networks"].items() if row["limit_s"] is not None}  # fmt: skip
    return titled(record, "From network to channel groups", table(head, rows), gates=gates)


def _formats(record: dict[str, Any]) -> str:
    names = list(record["rows"][0]["formats"])
    rows: list[Row] = [
        (row["network"], row["variant"], f"{row['macs_kept']:.3f}x", *(_file(row["formats"][name]) for name in names))
        for row in record["rows"]
    ]
    files = [row["formats"][name] for row in record["rows"] for name in names]
    good = sum(each["status"] == "verified" for each in files)
    images = sorted({each["images"] for each in files if each["images"]})
    note = (
        f"{good} of {len(files)} files verified. A cell: largest relative error, size, seconds to convert, two formats "
        "at a time (Core AI: alone, while the machine had other work). "
        f"Random weights and norms; {' or '.join(map(str, images))} images and 8 random inputs."
    )
    head = ("network", "variant", "MACs", *names)
    gates = {f"{row['network']}, {row['variant']}, {name}": row["formats"][name]["status"] == "verified"
             for row in record["rows"] for name in names}  # fmt: skip
    return titled(record, "Eleven networks in five formats", table(head, rows), note, gates)


def _file(told: dict[str, Any]) -> str:
    if told["status"] != "verified":
        return f"**{told['status']}**: {told['reason']}".replace("\n", " ")
    return f"{told['max_error']:.0e}, {told['size_bytes'] / 1e6:.1f} MB, {told['seconds']:.0f} s"


def _export_speed(record: dict[str, Any]) -> str:
    runs = ", ".join(f"{run['seconds']:.1f}" for run in record["runs"])
    rows: list[Row] = [("whole command, median", f"{record['median_s']:.1f} s ({runs})")]
    title = "MobileNetV2 at 224 x 224, exported and verified in all four formats"
    gates = {f"at most {record['limit_s']:g} s, every file verified": record["passed"]}
    return titled(record, title, table(("", ""), rows), "200 images and 8 random inputs per format.", gates)


def _prediction(record: dict[str, Any]) -> str:
    rows: list[Row] = [
        (*name.rsplit("-", 2), _error(row["error"]), _error(row["exported_error"]), _error(row["repeats"]),
         _error(row["macs_error"]), str(row["samples"]), f"{row['profile_s']:.0f}")
        for name, row in record["cells"].items() if "error" in row
    ]  # fmt: skip
    without = [f" {name}: {row['reason']}." for name, row in record["cells"].items() if "reason" in row]
    head = (
        "network",
        "runtime",
        "threads",
        "the model",
        "of it, exported files",
        "timing again",
        "MACs",
        "samples",
        "from nothing, s",
    )
    limits = record["limits"]
    note = (
        "40 plans of 0.3x to 1.0x of the MACs per row, drawn before anything was fitted, 12 of them really exported. "
        "A cell: mean relative error, 95th percentile, rank correlation. "
        f"Limits of the model's: {limits['mean']:.0%}, {limits['p95']:.0%}, {limits['spearman']}.{''.join(without)}"
    )
    gates = {
        f"{name}, {figure}: {row['error'][figure]:.3f} against {limit:g}":
            row["error"][figure] >= limit if figure == "spearman" else row["error"][figure] <= limit
        for name, row in record["cells"].items() if "error" in row for figure, limit in limits.items()
    }  # fmt: skip
    return titled(record, "Milliseconds predicted for plans never seen", table(head, rows), note, gates)


def _error(error: dict[str, float]) -> str:
    return f"{error['mean']:.1%}, {error['p95']:.1%}, {error['spearman']:.3f}"


STAIRS_ARMS = ("free", "multiples of 8", "multiples of 16")


def _stairs(record: dict[str, Any]) -> str:
    rows: list[Row] = []
    for row in record["rows"]:
        arms = row["arms"]
        cells = [_arm(arms[arm]) for arm in STAIRS_ARMS]
        own = arms.get("stair-aware", {})
        own_cell = own["reason"] if "reason" in own else f"{_mean(own['measured']):.3f}x"
        kept = [_kept(arms[arm]) for arm in STAIRS_ARMS]
        rows.append((row["network"], row["runtime"], f"{row['share']}x", own_cell, *cells, *kept))
    head = ("network", "runtime", "MACs", "stair-aware / dense", *(f"{arm}, its time" for arm in STAIRS_ARMS),
            *(f"as fast as {arm}: MACs, rank" for arm in STAIRS_ARMS))  # fmt: skip
    note = (
        f"Same scores and allocator, MACs within {record['within']:.0%}, really exported, timed twice in one session. "
        "Times are relative to the stair-aware plan's. The last columns: what a stair-aware plan of the same predicted "
        "time keeps, relative to that plan, and how far its measured time is off."
    )
    return titled(record, "What stairs are worth", table(head, rows), note)


def _mean(ratios: Sequence[float]) -> float:
    return float((ratios[0] * ratios[1]) ** 0.5)


def _arm(arm: dict[str, Any]) -> str:
    if "reason" in arm:
        return arm["reason"]
    return f"{arm['saved']:.2f}x" if "saved" in arm else f"{_mean(arm['measured']):.3f}x of dense"


def _kept(arm: dict[str, Any]) -> str:
    equal = arm.get("at equal ms", {"reason": "-"})
    if "reason" in equal:
        return equal["reason"]
    off = equal["measured"] / _mean(arm["measured"]) - 1
    return f"{equal['macs'] / arm['macs']:.2f}x, {equal['rank'] / arm['rank']:.2f}x ({off:+.1%})"


def _shipped_budgets(record: dict[str, Any]) -> str:
    rows: list[Row] = [
        (row["network"], f"{row['budget_ms']:.3f} ms ({row['share']}x)", str(len(row["attempts"])),
         f"{row['attempts'][0]['predicted'] / row['budget_ms']:.3f}",
         f"{row['attempts'][0]['measured'] / row['budget_ms']:.3f}",
         f"{row['shipped_of_budget']:.3f}", _again(row),
         "yes" if row["met"] else "**no**")
        for row in upgrade(record["rows"])
    ]  # fmt: skip
    head = (
        "network",
        "budget",
        "plans tried",
        "first plan: predicted / budget",
        "measured / budget",
        "shipped / budget",
        "timed again / budget",
        "met",
    )
    low, high = record["promised"]
    note = f"{record['met']} of {len(rows)} budgets met: the file timed again takes {low} to {high} of it."
    gates = {f"{row['network']} at {row['share']}x": row["met"] for row in record["rows"]}
    return titled(record, "Budgets in milliseconds, shipped", table(head, rows), note, gates)


def _again(row: dict[str, Any]) -> str:
    low, high = row["again_interval"]
    return f"{row['again_of_budget']:.3f} [{low:.3f}, {high:.3f}]"


def _latency_speed(record: dict[str, Any]) -> str:
    rows: list[Row] = [(name, text) for name, text in record["figures"].items()]
    gates = {below(name, limit, "ms"): record["found_ms"][name] <= limit for name, limit in record["limits_ms"].items()}
    return titled(record, "MobileNetV2's latency model on LiteRT", table(("", "median"), rows), gates=gates)


def _startup(record: dict[str, Any]) -> str:
    rows: list[Row] = [("deploy-prune --help", f"{record['help_s']:.2f} s")]
    gates = {below("deploy-prune --help", record["limit_s"], "s"): record["help_s"] <= record["limit_s"]}
    return titled(record, "Start-up, whole process", table(("", "median"), rows), gates=gates)


def _readme_run(record: dict[str, Any]) -> str:
    rows: list[Row] = [("the README's example, whole commands", f"{record['seconds']:.0f}")]
    picture = record["picture"]
    note = f"What it printed is in the record, and so are the points of the README's picture ({picture['network']})."
    return titled(record, "What the README shows", table(("", "seconds"), rows), note)


SECTIONS: dict[str, Callable[[dict[str, Any]], str]] = {
    "readme_run": _readme_run,
    "demo": _demo,
    "formats": _formats,
    "export_speed": _export_speed,
    "prediction": _prediction,
    "stairs": _stairs,
    "shipped_budgets": _shipped_budgets,
    "latency_speed": _latency_speed,
    **tables_simulated.SECTIONS,
    **tables_methods.SECTIONS,
    **tables_selections.SECTIONS,
    "cifar": _cifar,
    "families": _families,
    "trace_speed": _trace_speed,
    "startup": _startup,
    **tables_checks.SECTIONS,
}
