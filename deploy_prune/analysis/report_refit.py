"""What a report says of the refit after the cut: which network went on, and its layers one by one."""

from __future__ import annotations

from deploy_prune.analysis.report_times import write_table
from deploy_prune.results import RefitResult
from deploy_prune.values import LayerRefit

SHOWN = 12
"""How many layers the table has at most."""


def write_refit(refit: RefitResult | None) -> str:
    """The section of a report; empty where nothing was refitted."""
    if refit is None:
        return ""
    candidates = [(name, _format_share(error), "goes on" if name == refit.chosen else "")
                  for name, error in sorted(refit.errors.items(), key=lambda item: item[1])]  # fmt: skip
    told = (
        f"{refit.kept} of {len(refit.layers)} layers behind the first change have new weights, fitted by least "
        f"squares to what they gave before, on {refit.images} training images without labels ({refit.seconds:.0f} s)."
    )
    tables = [write_table(("network", "error of its outputs", ""), candidates), _write_layers(refit)]
    return "\n\n".join(part for part in ("## Refit", told, *tables) if part)


def _write_layers(refit: RefitResult) -> str:
    """The layers that gained most."""
    gained = sorted((layer for layer in refit.layers if layer.kept), key=_gain, reverse=True)[:SHOWN]
    if not gained:
        return ""
    rows = [
        (layer.name, _format_share(layer.error_before), _format_share(layer.error_after), f"{layer.ridge:g}",
         f"{layer.condition:.0f}")
        for layer in gained
    ]  # fmt: skip
    table = write_table(("layer", "error before", "after", "ridge", "condition"), rows)
    return f"{table}\n\nErrors are squared, on held-out images, as shares of the variance of what should come out."


def _gain(layer: LayerRefit) -> float:
    return (layer.error_before or 0.0) - (layer.error_after or 0.0)


def _format_share(share: float | None) -> str:
    return "-" if share is None else f"{share:.4f}"
