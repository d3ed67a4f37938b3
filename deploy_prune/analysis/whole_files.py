"""What there is to say of two files that nothing here takes apart: their times, and the operators that came along."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from deploy_prune.analysis.describe import read_report
from deploy_prune.analysis.explanation import Explanation
from deploy_prune.analysis.slowdown import Appeared, TimeShare, word_the_ratio
from deploy_prune.errors import DeployPruneError
from deploy_prune.values import Artifact, Comparison, Target

UNKNOWN = TimeShare(0.0)


def explain_whole(pair: tuple[Artifact, Artifact], target: Target, comparison: Comparison) -> Explanation:
    """Explain two files by their whole times alone.

    Args:
        pair: the one that is held against first.
        target: where they were timed.
        comparison: what came of it.
    """
    before, after = (_count_operators(artifact) for artifact in pair)
    appeared = tuple(Appeared(name, before.get(name, 0), count) for name, count in after.items()
                     if count > before.get(name, 0))  # fmt: skip
    more = ", ".join(f"{each.operator} {each.before} -> {each.after}" for each in appeared)
    source = f"nothing here takes {pair[0].format} files apart: their layers have no times"
    return Explanation(
        target=target,
        before=pair[0].path,
        after=pair[1].path,
        before_ms=comparison.reference,
        after_ms=comparison.ratio * comparison.reference,
        ratio=comparison.ratio,
        interval=comparison.interval,
        macs_ratio=None,
        layers=(),
        appeared=appeared,
        off_stair=(),
        memory_bound_before=UNKNOWN,
        memory_bound_after=UNKNOWN,
        not_delegated_before=UNKNOWN,
        not_delegated_after=UNKNOWN,
        source=source,
        not_timed=(),
        sentence=f"{word_the_ratio(comparison.ratio, comparison.interval, comparison.unit)}; {source}"
        + (f"; operators that appeared: {more}" if more else ""),
        unit=comparison.unit,
    )


def _count_operators(artifact: Artifact) -> Mapping[str, int]:
    """Operator -> how many the file has; empty where no reader knows."""
    counts: dict[str, int] = {}
    try:
        for row in read_report(Path(artifact.path)).operators:
            counts[row.name] = counts.get(row.name, 0) + row.count
    except DeployPruneError:  # it runs, which is all that timing it takes
        return {}
    return counts
