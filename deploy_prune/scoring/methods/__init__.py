"""The contract of a pruning method: a scorer says how much every unit matters, a selector which units stay.

How many units a group keeps and which ones are two questions; a method answers one or both, so that methods
compose. A method knows the study (`scoring/study.py`) alone: it imports no stage of the pipeline.
"""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

from deploy_prune.plugins import Kind
from deploy_prune.scoring.study import Study
from deploy_prune.values import Scores, Selection, Widths


@runtime_checkable
class Scorer(Protocol):
    """Answers how much every unit matters (and so, under a budget, how many stay)."""

    needs_labels: ClassVar[bool]
    """Whether it trains on labels: a run on images without any refuses it before any work."""

    def score(self, study: Study) -> Scores:
        """Give a number per unit of every free group, higher is more important; a group without numbers stays whole."""


@runtime_checkable
class Selector(Protocol):
    """Answers which units stay at given widths."""

    needs_labels: ClassVar[bool]
    """The same as a scorer's."""

    def select(self, study: Study, widths: Widths) -> Selection:
        """Select exactly `widths[group]` units of every group (fewer, if the method stops by itself).

        New weights, where it trains, let nothing read a unit that goes: cutting them changes no answer.
        """


METHODS: Kind[Scorer | Selector] = Kind("methods")
