"""Several systems on the same users: each with its interval, and its paired difference to one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

from ..errors import UsageError
from .bootstrap import Estimate, paired_difference
from .evaluate import COVERAGE, Evaluation
from .lists import DIVERSITY, NOVELTY

LIST_METRICS = (NOVELTY, DIVERSITY, COVERAGE)
METRICS = ("ndcg@10", "hr@10", "mrr", *LIST_METRICS)


@dataclass(frozen=True)
class ComparisonRow:
    """One system in one slice and metric, over `n_users`, and its mean difference to the baseline, paired by user.

    The baseline has no difference to itself, and coverage, which belongs to no single user, has neither difference nor
    interval (NaN).
    """

    system: str
    slice: str
    metric: str
    estimate: Estimate
    difference: Estimate | None
    n_users: int

    @property
    def clear(self) -> bool:
        """Whether the interval of the difference leaves zero out."""
        return self.difference is not None and not self.difference.low <= 0 <= self.difference.high


def compare(
    evaluations: Mapping[str, Evaluation],
    baseline: str | None = None,
    metrics: tuple[str, ...] = METRICS,
    slices: tuple[str, ...] = ("all", "cold"),
) -> list[ComparisonRow]:
    """One row per slice, metric and system; slices without a target are passed over.

    The evaluations, by system, must be of the same evaluation set; `baseline` is the first when None. What lists are
    like (`LIST_METRICS`) is reported on the slice `all`, where all systems have it.
    """
    if not evaluations:
        raise UsageError("There is nothing to compare; evaluate at least one system first.")
    baseline = next(iter(evaluations)) if baseline is None else baseline
    if baseline not in evaluations:
        raise UsageError(f"Baseline {baseline!r} was not evaluated; choose one of {', '.join(evaluations)}.")
    _check_alike(evaluations, baseline)
    filled = [name for name in slices if name in evaluations[baseline].slices]
    return [
        _row(evaluations, system, baseline, name, metric)
        for name in filled
        for metric in metrics
        if metric not in LIST_METRICS or _measured(evaluations, name, metric)
        for system in evaluations
    ]


def _check_alike(evaluations: Mapping[str, Evaluation], baseline: str) -> None:
    reference = evaluations[baseline]
    users = {name: part.users for name, part in reference.slices.items()}
    for system, evaluation in evaluations.items():
        if evaluation.protocol != reference.protocol:
            raise UsageError(
                f"{system!r} was measured as '{evaluation.protocol.describe()}' but {baseline!r} as "
                f"'{reference.protocol.describe()}'; evaluate both with one protocol."
            )
        if {name: part.users for name, part in evaluation.slices.items()} != users:
            raise UsageError(
                f"{system!r} ({evaluation.n_users} users) and {baseline!r} ({reference.n_users} users) were not tested "
                "on the same users and slices; evaluate both on one evaluation set."
            )


def _measured(evaluations: Mapping[str, Evaluation], name: str, metric: str) -> bool:
    """Whether every system has a metric of lists; only the slice `all` does."""
    own = [evaluation[name].metrics for evaluation in evaluations.values()]
    return name == "all" and (metric == COVERAGE or all(metric in metrics for metrics in own))


def _row(evaluations: Mapping[str, Evaluation], system: str, baseline: str, name: str, metric: str) -> ComparisonRow:
    part, reference = evaluations[system][name], evaluations[baseline][name]
    if metric == COVERAGE:
        return ComparisonRow(system, name, metric, Estimate(part.coverage, nan, nan), None, len(part.users))
    if metric not in part.metrics:
        raise UsageError(f"Metric {metric!r} was not measured; choose one of {', '.join(part.metrics)}.")
    difference = paired_difference(part.metrics[metric], reference.metrics[metric])
    return ComparisonRow(
        system=system,
        slice=name,
        metric=metric,
        estimate=part.estimate(metric),
        difference=None if system == baseline else difference,
        n_users=len(part.users),
    )
