"""What a report says of networks that were held against the dense one: how far their outputs are from its own."""

from __future__ import annotations

import math

from deploy_prune.results import RunSummary
from deploy_prune.values import Quality

Row = tuple[str, str, str, str]


def list_errors(summary: RunSummary) -> list[Row]:
    """The rows of the network's table that have the error of its outputs; none where labels judged."""
    cut, trained, test = summary.cut, summary.trained, summary.test
    if test.pruned.output_error is None:
        return []
    after = trained.given_up or trained.val
    epochs = f"{trained.epochs} epoch{'s' * (trained.epochs != 1)}"
    told = f"after {epochs} of fine-tuning" if trained.epochs else "as shipped"
    steps: list[tuple[str, Quality | None]] = [
        ("error of the outputs on validation, after the cut", cut.val),
        (f"the same, {cut.refit.chosen}" if cut.refit else "", cut.refit.val if cut.refit else None),
        ("the same, norms estimated anew", cut.val_recalibrated),
        (f"the same, {told}", after),
    ]
    rows = [(label, "", write_error(quality), "") for label, quality in steps if quality is not None]
    return [*rows, ("**error of the outputs on test, once**", write_error(test.dense), write_error(test.pruned), "")]


def write_judgement(summary: RunSummary) -> str:
    """How networks were judged without labels; empty where labels judged."""
    if summary.test.pruned.output_error is None:
        return ""
    judged = f" Agreement is, by output: {summary.dense.judged}." if summary.dense.judged else ""
    return (
        f"No label was used: every network is held against the dense one.{judged} The error of the outputs is squared, "
        "a share of the variance of the dense network's (in brackets the ratio of signal to noise), of class scores at "
        "the scale that fits best."
    )


def write_error(quality: Quality) -> str:
    """The error of a network's outputs, and what that is in decibels."""
    error = quality.output_error
    if error is None:
        return ""
    return f"{error:.4f} ({-10 * math.log10(error):.1f} dB)" if 0 < error < math.inf else f"{error:g}"
