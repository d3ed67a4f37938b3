"""Which widths to time next: at random, next to the edges of stairs, and where the model is least sure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from deploy_prune.budget.latency.features import Features
from deploy_prune.budget.latency.table import GroupWidth
from deploy_prune.budget.widths import dense_widths

LEVELS = (0.25, 1.0)
"""Shares of the units that plans keep on average."""
SPREAD = 0.5
"""How far a group may be from its plan's average."""
FLOOR = 0.1
STEPS = (1, 1, 8, 16)
"""Multiples that a plan's widths are of; every other plan has free ones."""
EDGE = 16
"""Tile whose edges some plans keep to, or miss by one."""
POOL = 300
"""Plans to choose from where the model chooses."""
TRIES = 20
"""Draws per plan before a network is thought to have no other."""


def plans(groups: Sequence[GroupWidth], count: int, *, seed: int, known: Iterable[Sequence[int]] = ()) -> np.ndarray:
    """Random widths (count, groups), a quarter of them at or beside the edges of stairs. The same for the same seed.

    None twice and none of the known ones, so that a tiny network may have fewer.
    """
    draw = np.random.default_rng([seed, len(groups)])
    dense = dense_widths(groups)
    per_unit = np.array([group.channels_per_unit for group in groups])
    seen = {tuple(map(int, plan)) for plan in known}
    drawn: list[tuple[int, ...]] = []
    for number in range(TRIES * count):
        if len(drawn) == count:
            break
        plan = tuple(_plan(dense, per_unit, draw, edges=number % 4 == 3).tolist())
        if plan not in seen:
            seen.add(plan)
            drawn.append(plan)
    return np.array(drawn, dtype=np.int64).reshape(len(drawn), len(groups))


def _plan(dense: np.ndarray, per_unit: np.ndarray, draw: np.random.Generator, *, edges: bool) -> np.ndarray:
    level = draw.uniform(*LEVELS)
    wanted = dense * level * draw.uniform(1 - SPREAD, 1 + SPREAD, len(dense))
    step = np.maximum((EDGE if edges else int(draw.choice(STEPS))) // per_unit, 1)
    widths = np.maximum(np.round(wanted / step), 1) * step
    if edges:
        widths += draw.integers(-1, 2, len(dense))
    least = np.minimum(np.maximum(np.ceil(FLOOR * dense), 2), dense)
    clipped: np.ndarray = np.clip(widths, least, dense).astype(np.int64)
    return clipped


def unsure(groups: Sequence[GroupWidth], features: Features, known: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """The plans of a pool whose features the known ones say least about: those of the largest leverage, one by one.

    (Sequential D-optimal design: each choice counts as known for the next.)
    """
    pool = plans(groups, POOL, seed=seed, known=known.tolist())
    columns, candidates = features(known), features(pool)
    scale = np.maximum(columns.max(axis=0), 1e-12)
    columns, candidates = columns / scale, candidates / scale
    inverse = np.linalg.inv(columns.T @ columns + 1e-3 * np.eye(columns.shape[1]))
    chosen: list[int] = []
    for _ in range(min(count, len(pool))):
        leverage = np.einsum("ij,jk,ik->i", candidates, inverse, candidates)
        leverage[chosen] = -1
        best = int(leverage.argmax())
        chosen.append(best)
        moved = inverse @ candidates[best]
        inverse = inverse - np.outer(moved, moved) / (1 + candidates[best] @ moved)  # Sherman-Morrison
    return pool[chosen]
