"""The tables of methods in RESULTS.md: what was searched, how fast, and what it is worth at equal milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.markdown import Row, each, missed, points, table, titled


def _equal_ms(record: dict[str, Any]) -> str:
    rows: list[Row] = []
    for name, arms in record["tables"].items():
        for arm, row in arms.items():
            if "reason" in row:
                rows.append((name, arm, row["reason"], "", "", ""))
                continue
            without = "".join(f"; seed {seed}: {reason}" for seed, reason in row["without"].items())
            rows.append((name, arm + without, each(row["ratio"], "{:.3f}"), each(row["recalibrated_val"], "{:.1%}"),
                         each(row["test"], "{:.2%}"), "; ".join(map(points, row["against_first"]))))  # fmt: skip
    head = ("network, budget", "plan by", "measured time / dense", "val, norms anew", "test per seed",
            "points to LeGR in ms")  # fmt: skip
    note = (
        "LiteRT, one thread. Trained alike: 10,000 images x 3 epochs. Intervals are 95 %, paired by image. "
        f"LeGR judges {record['legr']['candidates']} candidates."
    )
    return titled(record, "CIFAR-10 (JPEG) at equal measured milliseconds", table(head, rows), note)


def _headline(record: dict[str, Any]) -> str:
    rows: list[Row] = [
        (name, arm, *(("", row["reason"], "") if "reason" in row else
                      (f"{row['ratio']:.3f}", f"{row['test']:.2%}",
                       points(row["against_first"]) if row["against_first"] else "")))
        for name, arms in record["tables"].items() for arm, row in arms.items()
    ]  # fmt: skip
    head = ("network", "plan by", "measured time / dense", "test", "points to LeGR in ms")
    note = f"LiteRT, one thread, {record['share']}x; {record['images']:,} images x {record['epochs']} epochs, one seed."
    return titled(record, "The same, trained longer (CIFAR-10, JPEG)", table(head, rows), note)


def _legr(record: dict[str, Any]) -> str:
    rows: list[Row] = [
        (name, seed, f"{row['best_loss']:.3f}", f"{row['best_random_loss']:.3f}", f"{row['identity_loss']:.3f}",
         f"{row['uniform_loss']:.3f}", f"{row['legr']:.1%}", f"{row['uniform']:.1%}", f"{row['identity']:.1%}",
         missed(row["gates"]))
        for name, seeds in record["orderings"].items() for seed, row in seeds.items()
    ]  # fmt: skip
    head = ("network", "seed", "best loss", "best random", "identity", "uniform", "LeGR: test, norms anew", "uniform",
            "identity", "gates")  # fmt: skip
    text = table(head, rows)
    if front := record["front"]:
        rows = [(arm.replace("-", " at ") + "x", each(tests, "{:.2%}"), f"{front['means'][arm]:.2%}")
                for arm, tests in front["test"].items()]  # fmt: skip
        against = "; ".join(map(points, front["against_uniform"]))
        title = "The front of one ranking, ResNet-20, 10,000 images x 3 epochs"
        said = f"LeGR against uniform widths at half the MACs: {against} points"
        text += f"\n\n{title}; {said}.\n\n"
        text += table(("widths by, MACs", "test per seed", "mean"), rows)
    note = "150 candidates, half the MACs, inner mode; no training but for the front."
    gates = {f"{name}, seed {seed}: {gate}": kept for name, seeds in record["orderings"].items()
             for seed, row in seeds.items() for gate, kept in row["gates"].items()}  # fmt: skip
    gates |= {f"the front: {gate}": kept for gate, kept in front["gates"].items()} if front else {}
    return titled(record, "LeGR's search on CIFAR-10 (JPEG)", text, note, gates)


def _without_training(record: dict[str, Any]) -> str:
    rows: list[Row] = []
    for row in record["rows"]:
        if "share" in row:
            rows.append((row["network"], f"{row['share']}x", row["method"], row["way"], each(row["test"], "{:.2%}"),
                         "; ".join(map(points, row["to_dense"])), each(row["scored_s"], "{:.0f}"),
                         each(row["refit_s"], "{:.0f}")))  # fmt: skip
        else:
            rows.append((row["network"], "", "dense", "", each(row["test"], "{:.2%}"), "", "", ""))
    head = ("network", "MACs", "plan by", "after the cut", "test per seed", "points to the dense network",
            "scored, s", "refit, s")  # fmt: skip
    note = f"{record['data']}. No training and no labels; the refit and obs see 512 training images. Full scope."
    return titled(record, "Right after the cut, without training (CIFAR-10, JPEG)", table(head, rows), note)


def _untrained(title: str, unit: str, how: str) -> Callable[[dict[str, Any]], str]:
    """The section of a table of networks that are cut and never trained."""

    def section(record: dict[str, Any]) -> str:
        rows: list[Row] = [
            (row["network"], f"{row['share']}x" if "share" in row else "", row["method"], row.get("way", ""),
             each(row["test"], "{:.2%}"), "; ".join(map(points, row.get("to_dense", ()))),
             each(row.get("relative", ()), "{:.3f}"), each(row.get("agreement", ()), "{:.1%}"))
            for row in record["rows"]
        ]  # fmt: skip
        head = ("network", unit, "plan by", "after the cut", "test per seed", "points to the dense network",
                "of the dense network's", "agreement with it")  # fmt: skip
        shown = [place for place, _ in enumerate(head) if place < len(head) - 1 or any(row[place] for row in rows)]
        cut = [tuple(row[place] for place in shown) for row in rows]
        note = f"{record['data']}. No training and no labels. {how}"
        return titled(record, title, table([head[place] for place in shown], cut), note)

    return section


TIMED = "Every plan's file was timed: within 4 % of its share."


def _refit_speed(record: dict[str, Any]) -> str:
    rows: list[Row] = []
    for name, part in record["parts"].items():
        seconds = [
            part.get(f"{what}_s") for what in ("moments", "elimination", "refit_norms_kept", "refit_norms_measured")
        ]
        peak = max(value for what, value in part.items() if what.endswith("peak_bytes"))
        rows.append((name, *("" if each is None else f"{each:.1f}" for each in seconds),
                     f"{part['before_bytes'] / 2**30:.2f}", f"{peak / 2**30:.2f}"))  # fmt: skip
    head = ("", "moments, s", "curves, s", "refit, s", "with norms on the way, s", "GiB before", "GiB at most")
    alone = record["parts"].get("elimination-4608")
    gates = (
        {
            f"4,608 inputs, ridge, order and curve, in {record['limit_s']:g} s": alone["elimination_s"]
            <= record["limit_s"]
        }
        if alone
        else {}
    )
    note = "MobileNetV2: 250 images of 224 x 224. DenseNets: 100 of 64 x 64. The first refit writes both networks down."
    return titled(record, "What OBS and the refit take", table(head, rows), note, gates)


def _weights_to_files(record: dict[str, Any]) -> str:
    rows: list[Row] = []
    for name, row in record["networks"].items():
        first = row["runs"][0]
        ratios = "; ".join(f"{where}: {ratio:.3f}" for where, ratio in first["ratios"].items())
        change = {"points": first["points"], "interval": first["points_interval"]}
        rows.append((name, row["budget"], each(row["one_s"], "{:.0f}"), f"{row['front_s']:.0f}", ratios,
                     f"{first['dense']:.2%}", f"{first['pruned']:.2%}", points(change)))  # fmt: skip
    gates = {f"{name}: {row['limits'][gate]:.0f} s for {'one budget' if gate == 'one_s' else 'a front of five'}": kept
             for name, row in record["networks"].items() for gate, kept in row["gates"].items()}  # fmt: skip
    head = (
        "network",
        "budget",
        "one budget, s",
        "five budgets, s",
        "time / dense",
        "dense",
        "pruned",
        "points, paired",
    )
    note = (
        "LiteRT milliseconds by obs, refitted, never trained; the latency table was there before. CIFAR-10 (JPEG): "
        "top-1; ImageNet: 500 photographs without labels, agreement with the dense network."
    )
    title = "From weights to verified files"
    return titled(record, title, table(head, rows), note, gates)


def _judges(record: dict[str, Any]) -> str:
    rows: list[Row] = []
    for name, judges in record["tables"].items():
        for judge, row in judges.items():
            told = [_correlation(row.get(truth)) for truth in ("refitted", "trained")]
            rows.append((name, judge, *told, f"{row['median_s']:.2f}", f"{row['prepared_s']:.0f}"))
    head = ("network", "judge", "with the refitted networks'", "with the trained networks'", "s a plan", "s before")
    text = "Spearman's rank correlation of a judge's loss with test accuracy, [95 % over plans].\n\n" + table(
        head, rows
    )
    note = f"{record['data']}. 40 plans at {record['budget']}x MACs each. Seconds beside other work: footnotes."
    return titled(record, "Judges of a search", text, note)


def _correlation(row: dict[str, Any] | None) -> str:
    """A rank correlation with its interval; empty: its truth is not there."""
    if row is None:
        return ""
    value, low, high = row["spearman"]
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _legr_judges(record: dict[str, Any]) -> str:
    budgets, rows = record["budgets"], list[Row]()
    ends = [*(f"{budget} refitted" for budget in budgets), f"{min(budgets)} trained"]
    for name, told in record["tables"].items():
        rows.append((name, "dense", "", "", f"{told['dense']:.2%}", *[""] * (len(ends) + 1)))
        for row in told["rows"]:
            minutes = " / ".join(f"{seconds / 60:.1f}" for seconds in row["seconds"])
            rate = row.get("candidates_per_minute")
            tests = [each([cell["test"] for cell in row[end]], "{:.2%}") for end in ends]
            against = [[points(cell["to_before"]) for cell in row[end] if cell["to_before"]] for end in ends[-2:]]
            rows.append((name, row["judge"], minutes, f"{rate:.0f}" if rate else "", *tests,
                         *("; ".join(each_seed) for each_seed in against)))  # fmt: skip
    tightest = f"{min(budgets)}x"
    head = ("network", "judge", "minutes", "candidates a minute", *(f"{budget}x, refitted" for budget in budgets),
            f"{tightest}, trained", "points to the first, refitted", "the same, trained")  # fmt: skip
    note = (
        f"{record['candidates']} candidates under {tightest} MACs, two cores; a seed after the other; trained: 10,000 "
        "images x 3."
    )
    return titled(record, "LeGR's searches by their judges (CIFAR-10, JPEG)", table(head, rows), note)


def _refit_images(record: dict[str, Any]) -> str:
    rows: list[Row] = [
        (name, f"{row['share']}x", f"{row['images']:,}", each(row["test"], "{:.2%}"),
         "-" if row["images"] == record["usual"] else "; ".join(map(points, row["to_usual"])),
         each(row["refit_s"], "{:.0f}"))
        for name, told in record["tables"].items() for row in told["rows"]
    ]  # fmt: skip
    head = ("network", "MACs", "images", "test per seed", f"points to {record['usual']} images", "seconds")
    note = f"{record['data']}. Cut by obs, refitted, never trained; seconds on one core, beside other work: footnotes."
    return titled(record, "Images of a refit", table(head, rows), note)


def _slimming(record: dict[str, Any]) -> str:
    rows: list[Row] = [
        (f"{row['travel']:g}", seed, f"{row['penalty']:.2e}", f"{row['q10_of_q50']:.2f}",
         each(row["recalibrated"], "{:.1%}"), each(row["test"], "{:.2%}"))
        for row in record["rows"] for seed in [str(row["seed"])]
    ]  # fmt: skip
    head = ("D / median gamma", "seed", "lambda", "q10 / q50 of gamma", "val, norms anew, at 50 / 30 % MACs",
            "test, trained, at 50 / 30 %")  # fmt: skip
    title = "Network Slimming: travel and sparsity (CIFAR-10, JPEG)"
    return titled(record, title, table(head, rows), "ResNet-20, 10 sparse epochs.", record["gates"])


def _search_speed(record: dict[str, Any]) -> str:
    names = list(record["tables"])
    first = record["tables"][names[0]]["rows"]
    rows: list[Row] = [
        (row, *(f"{speed['per_minute']:.1f} ({speed['faster']:.2f}x)"
                for speed in (record["tables"][name]["rows"][row] for name in names)))
        for row in first
    ]  # fmt: skip
    limits = ", ".join(f"{limit:g}x at {steps} steps" for steps, limit in record["gates"].items())
    note = f"Each row has what those above have. Limits for a worker per core: {limits}."
    gates = {name: record["tables"][name]["gate"] for name in names}
    return titled(record, "Candidates per minute of a LeGR search, two threads", table(("", *names), rows), note, gates)


def _search_workers(record: dict[str, Any]) -> str:
    rows: list[Row] = []
    for name, row in record["networks"].items():
        arms = [arm for arm in row if arm != "identical"]
        rows += [(name, arm, f"{row[arm]['ratio']:.2f}x", each(row[arm]["seconds"], "{:.1f}")) for arm in arms]
        rows.append((name, "two workers find the same as one", "yes" if row["identical"] else "**no**", ""))
    gates = {f"{name}: two workers find the same as one": row["identical"] for name, row in record["networks"].items()}
    gates |= {f"{name}: two workers in {row['two workers']['ratio']:.3f} of the time, at most {record['limit']}":
              row["two workers"]["ratio"] <= record["limit"] for name, row in record["networks"].items()}  # fmt: skip
    head = ("network", "", "time / one worker", "seconds")
    return titled(record, "Workers of a search", table(head, rows), gates=gates)


SECTIONS: dict[str, Callable[[dict[str, Any]], str]] = {
    "equal_ms": _equal_ms,
    "headline": _headline,
    "legr": _legr,
    "without_training": _without_training,
    "refit_ms": _untrained("At equal milliseconds, without training (CIFAR-10, JPEG)", "LiteRT ms", TIMED),
    "imagenet_ms": _untrained("ImageNet at equal milliseconds, without training", "LiteRT ms", TIMED),
    "imagenet_macs": _untrained("ImageNet at equal MACs, without training", "MACs", "Full scope."),
    "judges": _judges,
    "legr_judges": _legr_judges,
    "refit_images": _refit_images,
    "weights_to_files": _weights_to_files,
    "refit_speed": _refit_speed,
    "slimming": _slimming,
    "search_speed": _search_speed,
    "search_workers": _search_workers,
}
