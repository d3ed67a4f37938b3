"""The table at equal milliseconds once more, trained on all 45,000 images for five epochs: its headline.

    python -m benchmarks.headline [--table] [--networks NAME ...]

The plans of `benchmarks.equal_ms` at 0.5x of the dense network's measured LiteRT ms (Torch-Pruning: the configuration
that was best on validation there), one seed, and beside them the dense network with the same extra epochs. Paired
differences to LeGR in ms. Every cell is a file under `results/headline/`. Half an hour on two idle cores.
"""

from __future__ import annotations

import sys
from typing import Any

from benchmarks import equal_ms
from benchmarks.aimed import Aim, aim
from benchmarks.equal_ms import IN_MS, NETWORKS, OURS, best_of_theirs, plan, plan_of_theirs, trained
from benchmarks.recording import write
from benchmarks.subjects import cell, stored
from benchmarks.trained import DATA, SEEDS, asked, images, judged, paired, recipe, seconds_told
from deploy_prune.train.loop import fit

TABLE, SHARE, SEED, DENSE = "headline", 0.5, SEEDS[0], "dense, trained on"
RECIPE = recipe(SEED, images=None, epochs=5)


def main() -> int:
    """Fill in the missing cells, then write the table."""
    todo = asked(__doc__, equal_ms.parser())
    if not todo.table_only:
        data = images()
        for name in todo.rest.networks:
            with aim(name, data) as at:
                for arm in _arms(name):
                    key = _key(name, arm)
                    seconds_told(key, cell(TABLE, key, lambda a=arm, t=at: _cell(t, a)))  # type: ignore[misc]
    return _written()


def _arms(name: str) -> list[str]:
    return [arm for arm in (DENSE, *OURS, best_of_theirs(name, SHARE)) if arm]


def _key(name: str, arm: str) -> str:
    return f"{name}-{arm.replace(' ', '_').replace(',', '')}"


def _cell(at: Aim, arm: str) -> dict[str, Any]:
    if arm == DENSE:
        return judged(fit(at.pruned.network, at.pruned.data, RECIPE), at.pruned.data, {"ratio": 1.0})
    planned = plan(at, arm, SHARE, SEED) if arm in OURS else plan_of_theirs(at, arm, SHARE)
    return planned if "reason" in planned else trained(at, arm, planned, RECIPE)


def _written() -> int:
    tables = {name: rows for name in NETWORKS if (rows := _table(name))}
    result = {"data": DATA, "share": SHARE, "images": 45_000, "epochs": RECIPE.epochs, "tables": tables}
    print(write(TABLE, "python -m benchmarks.headline", result, ("torch", "ai-edge-litert")))
    return 0


def _table(name: str) -> dict[str, Any]:
    cells = {arm: row for arm in _arms(name) if (row := stored(TABLE, _key(name, arm)))}
    base = cells.get(IN_MS)
    return {
        arm: row if "reason" in row else {
            **{of: row[of] for of in ("ratio", "macs", "val", "test")},
            "against_first": paired(base, row) if base and arm != IN_MS and "reason" not in base else None,
        }
        for arm, row in cells.items()
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
