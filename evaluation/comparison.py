"""Several systems on the same users: each with its interval, and its paired difference to one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import UsageError
from .bootstrap import paired_difference
from .evaluate import COVERAGE, Evaluation
from .lists import DIVERSITY, NOVELTY

LIST_METRICS = (NOVELTY, DIVERSITY, COVERAGE)
METRICS = ("ndcg@10", "hr@10", "mrr", *LIST_METRICS)


@dataclass(frozen=True)
class ComparisonRow:
    """One system on one slice by one metric: its mean, and the mean difference to the baseline, paired by user.

    Both with 95 % intervals; `clear` where that of the difference leaves zero out. The baseline has no difference to
    itself, and coverage, which belongs to no single user, has neither difference nor interval.
    """

    model: str
    slice: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    clear: bool = False
    n_users: int = 0


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
    # Diversity is there for systems alone that were measured with content.
    everywhere = set.intersection(*(set(evaluation["all"].metrics) for evaluation in evaluations.values()))
    return [
        _row(evaluations, system, baseline, name, metric)
        for name in slices
        if name in reference.slices
        for metric in metrics
        if metric not in LIST_METRICS or (name == "all" and (metric == COVERAGE or metric in everywhere))
        for system in evaluations
    ]


def _row(evaluations: Mapping[str, Evaluation], system: str, baseline: str, name: str, metric: str) -> ComparisonRow:
    part, reference = evaluations[system][name], evaluations[baseline][name]
    n_users = len(part.users)
    if metric == COVERAGE:
        return ComparisonRow(system, name, metric, part.overall[COVERAGE], n_users=n_users)
    if metric not in part.metrics:
        raise UsageError(f"Metric {metric!r} was not measured; choose one of {', '.join(part.metrics)}.")
    own = part.estimate(metric)
    if system == baseline:
        return ComparisonRow(system, name, metric, own.value, own.low, own.high, n_users=n_users)
    # Not whether two intervals overlap: users differ far more than systems do on one user, which pairing leaves out.
    change = paired_difference(part.metrics[metric], reference.metrics[metric])
    clear = not change.low <= 0 <= change.high
    changed = (change.value, change.low, change.high)
    return ComparisonRow(system, name, metric, own.value, own.low, own.high, *changed, clear, n_users)
