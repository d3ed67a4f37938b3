"""Costs that climb in steps, made by hand from layers and tiles, and graphs of groups alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from deploy_prune.values import ChannelGraph, Group, Scores, Widths


@dataclass(frozen=True)
class Term:
    """A layer: channels in x channels out, rounded up to tiles; the groups on one side are concatenated."""

    reads: tuple[int, ...]
    writes: tuple[int, ...]
    tile: int = 1
    per_unit: float = 1.0
    penalty: float = 0.0
    """Share by which it is slower where the tiles do not come out even."""

    def __call__(self, widths: np.ndarray) -> np.ndarray:
        """Its time."""
        outs = widths[..., list(self.writes)].sum(axis=-1)
        ins = widths[..., list(self.reads)].sum(axis=-1) if self.reads else 1
        uneven = 1 + self.penalty * (outs % self.tile != 0)
        times: np.ndarray = self.per_unit * ins * self.tile * np.ceil(outs / self.tile) * uneven
        return times


@dataclass(frozen=True)
class Stairs:
    """The sum of some layers' times."""

    terms: tuple[Term, ...]
    groups: int
    asked: list[int] = field(default_factory=list)
    """Group of every call of `along`."""

    def __call__(self, widths: np.ndarray) -> np.ndarray:
        """Time of each plan."""
        times: np.ndarray = np.sum([term(np.asarray(widths)) for term in self.terms], axis=0)
        return times

    def along(self, widths: np.ndarray, group: int, options: np.ndarray) -> np.ndarray:
        """The layers that the group touches."""
        self.asked.append(group)
        plans = np.repeat(widths[None], len(options), axis=0)
        plans[:, group] = options
        times: np.ndarray = np.sum([each(plans) for each in self.terms if group in each.reads + each.writes], axis=0)
        return times

    @property
    def neighbours(self) -> tuple[frozenset[int], ...]:
        """Groups of the same layers."""
        sides = [frozenset(term.reads + term.writes) for term in self.terms]
        return tuple(frozenset().union(*(side for side in sides if group in side)) for group in range(self.groups))


def chain(dense: list[int], tile: int, penalty: float = 0.0) -> Stairs:
    """image -> 0 -> 1 -> ... -> classes"""
    terms = [Term((), (0,), tile, 3.0, penalty), Term((), (len(dense) - 1,), 1, 10.0)]
    terms += [Term((place,), (place + 1,), tile, 1.0, penalty) for place in range(len(dense) - 1)]
    return Stairs(tuple(terms), len(dense))


def graph_of(dense: list[int], per_unit: int = 1, residual: tuple[int, ...] = ()) -> ChannelGraph:
    groups = [Group(f"g{place}", width, per_unit, (), place in residual) for place, width in enumerate(dense)]
    return ChannelGraph(tuple(groups), (), (), {}, frozenset())


def drawn(graph: ChannelGraph, seed: int) -> Scores:
    draw = np.random.default_rng(seed)
    return Scores({group.name: draw.random(group.width) for group in graph.free})


def line(widths: Widths) -> np.ndarray:
    return np.array(list(widths.values()))
