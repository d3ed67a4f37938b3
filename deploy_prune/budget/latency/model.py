"""Widths in, milliseconds out: what a profile's samples say about every other plan, and how far that may be off."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from deploy_prune.budget.latency.compiled import CompiledModel
from deploy_prune.budget.latency.features import Features
from deploy_prune.budget.latency.fitting import FEWEST, Fit, FitError, fit_columns
from deploy_prune.budget.latency.table import Profile, Sample, list_network_samples, read_features
from deploy_prune.budget.widths import dense_widths
from deploy_prune.errors import Inconclusive, NotProfiled, RecordError
from deploy_prune.values import ChannelGraph, Target

USUAL_BOUND = 0.06
"""Mean error above which a model is of no use for a budget."""


@dataclass(frozen=True, eq=False)
class LatencyModel:
    """Milliseconds of one network on one target."""

    profile: Profile
    features: Features
    fit: Fit

    @property
    def target(self) -> Target:
        """What the milliseconds are of."""
        return self.profile.target

    @property
    def error(self) -> FitError:
        """Relative, on samples that the fit had not seen."""
        return self.fit.error

    @cached_property
    def terms(self) -> CompiledModel:
        """The ratio as a function of the widths."""
        dense = dense_widths(self.profile.drawing.groups)
        compiled = CompiledModel.of(self.features, self.fit.coefficients[:-1], dense)
        return replace(compiled, constant=compiled.constant + float(self.fit.coefficients[-1]))

    def ratio(self, widths: np.ndarray) -> np.ndarray:
        """Widths in units (..., groups) -> time / time of the dense network (...)."""
        widths = np.asarray(widths)
        return self.terms(widths.reshape(-1, widths.shape[-1])).reshape(widths.shape[:-1])

    def latency(self, widths: np.ndarray) -> np.ndarray:
        """Widths in units (..., groups) -> time in the profile's unit, such as milliseconds (...)."""
        return self.ratio(widths) * self.profile.reference

    def by_operator(self, widths: np.ndarray) -> np.ndarray:
        """Widths (plans, groups) -> time in the profile's unit (plans, operators): they sum to all but the constant."""
        operators = len(self.profile.drawing.operators)
        ratios = self.features.by_operator(widths, self.fit.coefficients[:-1], operators)
        return ratios * self.profile.reference


def fit_model(profile: Profile, *, bound: float = USUAL_BOUND) -> LatencyModel:
    """Fit a profile's samples.

    Args:
        profile: with samples of whole networks; the more, the better.
        bound: the largest mean error, cross-validated, that is good enough.

    Raises:
        Inconclusive: too few samples, or the fit errs by more than the bound.
        RecordError: samples of other widths than the network has.
    """
    samples = list_network_samples(profile)
    if len(samples) < FEWEST:
        hint = "finish it with `deploy-prune profile`, which goes on where it stopped"
        message = f"{len(samples)} samples of {profile.address} are too few for a latency model, which takes {FEWEST}"
        raise Inconclusive(message, hint=hint)
    dense = dense_widths(profile.drawing.groups)
    widths = np.array([sample.widths for sample in samples])
    if widths.shape[1:] != dense.shape or (widths < 1).any() or (widths > dense).any():
        message = f"the latency table of {profile.address} has samples at widths that the network does not have"
        raise RecordError(message, hint="measure it again: deploy-prune profile MODEL, with a new --store")
    columns = read_features(profile.drawing)
    fit = fit_columns(columns(widths), np.array([sample.ratio for sample in samples]))
    if fit.error.mean > bound:
        raise Inconclusive(
            f"the latency model of {profile.address} errs by {fit.error.mean:.1%} on average (limit {bound:.0%}, "
            f"{fit.error.samples} samples)",
            hint="the machine may be too noisy (see `deploy-prune doctor`); `profile --samples N` times more plans",
        )
    return LatencyModel(profile, columns, fit)


def teach(model: LatencyModel, sample: Sample) -> LatencyModel:
    """The model fitted anew with one more sample, which takes the place of one at the same widths.

    Raises:
        Inconclusive: it errs too much now.
    """
    place = (sample.operator, sample.widths, sample.input_shape)
    others = (each for each in model.profile.samples if (each.operator, each.widths, each.input_shape) != place)
    return fit_model(replace(model.profile, samples=(*others, sample)))


@dataclass(frozen=True, eq=False)
class LatencyCost:
    """A latency model as the cost of a channel graph: an implementation of `costs.Stepped`."""

    model: LatencyModel
    columns: tuple[int, ...]
    """The places of the graph's free groups among the model's."""

    @staticmethod
    def of(model: LatencyModel, graph: ChannelGraph) -> LatencyCost:
        """Groups that were locked since it was measured count as dense."""
        places = {group.name: place for place, group in enumerate(model.profile.drawing.groups)}
        unknown = [group.name for group in graph.free if group.name not in places]
        if unknown:
            message = f"the latency table of {model.profile.address} does not know the group '{unknown[0]}'"
            raise NotProfiled(message, hint="measure this network: deploy-prune profile MODEL")
        return LatencyCost(model, tuple(places[group.name] for group in graph.free))

    def __call__(self, widths: np.ndarray) -> np.ndarray:
        """Widths (..., free groups) -> milliseconds (...)."""
        return self.model.latency(self.whole(np.asarray(widths)))

    def along(self, widths: np.ndarray, group: int, options: np.ndarray) -> np.ndarray:
        """Milliseconds at other widths of one group, less a constant of the plan: (options,)."""
        plan = self.whole(np.asarray(widths))
        return self._parts[group].along(plan, self.columns[group], options) * self.model.profile.reference

    @cached_property
    def neighbours(self) -> tuple[frozenset[int], ...]:
        """The groups whose widths decide with it over some operator's time, itself among them, for each free group."""
        place = {column: group for group, column in enumerate(self.columns)}
        return tuple(frozenset(place[column] for column in part.groups if column in place) for part in self._parts)

    @cached_property
    def _parts(self) -> tuple[CompiledModel, ...]:
        """What each group's width changes."""
        return tuple(self.model.terms.touched_by(column) for column in self.columns)

    def whole(self, widths: np.ndarray) -> np.ndarray:
        """Widths of the graph's free groups (..., free groups) -> of the model's groups (..., groups)."""
        dense = dense_widths(self.model.profile.drawing.groups)
        full = np.broadcast_to(dense, (*widths.shape[:-1], dense.size)).copy()
        full[..., list(self.columns)] = widths
        return full
