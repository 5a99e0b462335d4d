"""How far an experiment has come: whether its split is sound, and how far apart its releases are, number by number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from ..arrays import DoubleArray
from ..catalog.exposures import ARMS, Arm, read_exposures
from ..catalog.purchases import purchases
from ..errors import InvalidDataError, UsageError
from ..evaluation.experiments import MISMATCH, effect, mismatch
from ..files import atomic_write
from ..registry.records import ExperimentRecord
from ..registry.references import LIVE
from ..results import Record
from .datasets import find_snapshot, read_table
from .experiment_metrics import PER_SHOPPER, RATIOS, TAIL_SHARE
from .long_tail import NO_TAIL, popular_products
from .shopper_actions import shopper_actions
from .shopper_outcomes import Outcomes
from .targets import pointed_at

if TYPE_CHECKING:
    from .context import Context

# Shoppers of each arm without whom nothing is decided: the intervals are those of large samples.
LEAST = 100
Outcome = Literal["nothing", "unsound", "early", "unmeasured", "open", "better", "worse"]
Per = Literal["shopper", "impression", "revenue"]
Interval = tuple[float, float]


@dataclass(frozen=True)
class ExperimentArm(Record):
    """One side of an experiment: `release` for a `share` of the shoppers.

    `counted` are those of the `shoppers` it was shown to whose window is over; `lists` and `impressions` (products of
    lists) are theirs within it. `elsewhere`: of all lists those that another release answered in its place.
    """

    arm: Arm
    release: str
    share: float
    shoppers: int
    counted: int
    lists: int
    impressions: int
    elsewhere: int


@dataclass(frozen=True)
class MetricEffect(Record):
    """One number of both arms, per shopper, impression or unit of revenue, and how far they are apart.

    `once` is the 95 % interval of the difference for one look that was planned, `always` that for all looks together.
    Without numbers `reason` says why.
    """

    metric: str
    per: Per
    decides: bool
    control: float | None = None
    candidate: float | None = None
    difference: float | None = None
    relative: float | None = None  # the difference over the control's number
    once: Interval | None = None
    always: Interval | None = None
    clear: bool = False  # `always` is on one side of 0, and there are shoppers enough to say so
    reason: str | None = None


@dataclass(frozen=True)
class ExperimentReport(Record):
    """An experiment as of a moment (`at`).

    `splitting`: it runs and the live release is its control, so that shoppers are split now. `waiting` are shoppers
    whose window is not over, `mixed` those who were shown both arms; neither counts. `mismatch_p` is how often chance
    gives a split as far from the shares as this one, which below 0.001 is not `sound`.
    """

    experiment: ExperimentRecord
    at: datetime
    live: str | None
    splitting: bool
    arms: tuple[ExperimentArm, ...]
    waiting: int
    mixed: int
    mismatch_p: float | None
    sound: bool | None
    events_until: datetime | None  # the newest event since the first list
    metrics: tuple[MetricEffect, ...]
    outcome: Outcome
    verdict: str
    notes: tuple[str, ...] = ()

    @property
    def deciding(self) -> MetricEffect:
        """The number that the experiment goes by."""
        return next(own for own in self.metrics if own.decides)


def report(
    context: Context, own: ExperimentRecord, impressions: Path | None = None, target: Arm = "candidate"
) -> ExperimentReport:
    """What the exposures of an experiment and the events since then say now; its impressions into a file if asked."""
    outcomes, notes, until = _outcomes(context, own)
    if impressions is not None:
        if outcomes.counted.is_empty():
            raise UsageError(f"No shopper's window in {own.ref} is over, so there are no impressions to write yet.")
        rows = outcomes.impressions(target)
        with atomic_write(impressions, "wb") as stream:
            rows.write_parquet(stream)
    live = pointed_at(context.registry, own.domain, LIVE)
    splitting = own.stopped_at is None and live == own.control
    arms = tuple(_arm(outcomes, own, arm) for arm in ARMS)
    exposed: dict[str, int] = {arm.arm: arm.shoppers for arm in arms}
    p = mismatch(exposed, {arm.arm: arm.share for arm in arms}) if sum(exposed.values()) else None
    sound = None if p is None else p >= MISMATCH
    metrics = _effects(outcomes, own)
    outcome, verdict = _verdict(own, arms, p, next(row for row in metrics if row.decides), splitting)
    waiting = outcomes.shoppers.height - outcomes.counted.height
    known = own, outcomes.at, live, splitting, arms, waiting, outcomes.mixed, p, sound, until
    return ExperimentReport(*known, metrics, outcome, verdict, (*notes, *_notes(outcomes, own, arms, live)))


def _outcomes(context: Context, own: ExperimentRecord) -> tuple[Outcomes, tuple[str, ...], datetime | None]:
    log = read_exposures(context.settings.exposures_dir / own.domain)
    exposures = log.exposures.filter(pl.col("experiment") == own.ref)
    # After the exposures were read, so that none is later.
    at = datetime.now(UTC)
    first = exposures["at"].min()
    found = shopper_actions(context, own.domain, first if isinstance(first, datetime) else at)
    catalog = find_snapshot(context, own.domain, "items")
    items = _NO_ITEMS if catalog is None else read_table(context, catalog)
    last = found.actions["timestamp"].max()
    notes = (*found.notes, *([f"{log.damaged} lines of the log are no exposures."] if log.damaged else []))
    window = timedelta(seconds=own.window_seconds)
    made = Outcomes(exposures, found.actions, items, window, at, _popular(found.bought_before, items))
    return made, notes, last if isinstance(last, datetime) else None


def _popular(bought_before: pl.DataFrame, items: pl.DataFrame) -> frozenset[str] | None:
    try:
        bought = purchases(bought_before, items)
    except InvalidDataError:  # prices that cannot be added rank nothing
        return None
    return popular_products(bought.filter(pl.col("revenue").is_not_null()))


_NO_ITEMS = pl.DataFrame(
    schema={"item_id": pl.String(), "price": pl.Float64(), "cost": pl.Float64(), "currency": pl.String()}
)


def _arm(outcomes: Outcomes, own: ExperimentRecord, arm: Arm) -> ExperimentArm:
    treated = arm == "candidate"
    release, share = (own.candidate, own.share) if treated else (own.control, 1 - own.share)
    mine = pl.col("arm") == arm
    shown = outcomes.shown.filter(mine)
    elsewhere = outcomes.lists.filter(mine, pl.col("release") != release).height
    counts = (outcomes.shoppers.filter(mine).height, outcomes.counted.filter(mine).height, shown.height)
    return ExperimentArm(arm, release, share, *counts, int(shown["items"].list.len().sum()), elsewhere)


def _effects(outcomes: Outcomes, own: ExperimentRecord) -> tuple[MetricEffect, ...]:
    missing = _missing(outcomes)
    made = []
    for metric in (*PER_SHOPPER, *RATIOS):
        per: Per = "shopper" if metric in PER_SHOPPER else "revenue" if metric == TAIL_SHARE else "impression"
        row = MetricEffect(metric, per, metric == own.metric, reason=missing.get(metric))
        made.append(row if row.reason else _compared(outcomes.table, own, row))
    return tuple(made)


def _compared(table: pl.DataFrame, own: ExperimentRecord, row: MetricEffect) -> MetricEffect:
    over, under = RATIOS.get(row.metric, (row.metric, None))
    before, after = (_column(table, arm, over) for arm in ARMS)
    sizes = [None if under is None else _column(table, arm, under) for arm in ARMS]
    for arm, values in zip(ARMS, (before, after), strict=True):
        if len(values) < 2:
            return replace(row, reason=f"fewer than two shoppers of {arm} have had their window")
    try:
        found = effect(before, after, own.planned, control_sizes=sizes[0], treatment_sizes=sizes[1])
    except InvalidDataError:  # a ratio to nothing
        return replace(row, reason=f"there is no {'revenue' if row.per == 'revenue' else 'impression'} in an arm")
    control, candidate, difference = found.control.value, found.treatment.value, found.once.value
    relative = difference / control if control else None
    once, always = ((interval.low, interval.high) for interval in (found.once, found.always))
    clear = found.clear and min(len(before), len(after)) >= LEAST
    return MetricEffect(row.metric, row.per, row.decides, control, candidate, difference, relative, once, always, clear)


def _column(table: pl.DataFrame, arm: Arm, name: str) -> DoubleArray:
    return table.filter(pl.col("arm") == arm)[name].to_numpy().astype(np.float64)


def _missing(outcomes: Outcomes) -> dict[str, str]:
    """Metrics that what is known does not tell, and why."""
    bought, found = outcomes.bought, {}
    if outcomes.unpriced:
        found = dict.fromkeys(("revenue", "margin", "revenue_per_impression", TAIL_SHARE), outcomes.unpriced)
    if without := bought.filter(pl.col("cost").is_null() | pl.col("revenue").is_null()).height:
        found.setdefault("margin", f"{without} of {bought.height} purchases have no known cost or revenue")
    if outcomes.popular is None:
        found.setdefault(TAIL_SHARE, NO_TAIL)
    if not outcomes.names_lists:
        says = "no event names a list of the experiment; send its recommendation_id with what follows it"
        found |= dict.fromkeys(("clicks", "click_rate"), says)
    if bought.height and not bought["listed"].any():
        says = f"none of {bought.height} purchases names the list that it followed"
        found.setdefault("revenue_per_impression", says)
    return found


def _notes(outcomes: Outcomes, own: ExperimentRecord, arms: Sequence[ExperimentArm], live: str | None) -> list[str]:
    """What else a reader has to know."""
    told = []
    if own.stopped_at is None and live != own.control:
        told.append(
            f"{live or 'Nothing'} is live, not {own.control}: shoppers are no longer split. `hubspoke experiment stop "
            f"{own.domain}` ends it."
        )
    told += [
        f"{arm.elsewhere} lists for the {arm.arm} were answered by another release than {arm.release}, and count as "
        "assigned."
        for arm in arms
        if arm.elsewhere
    ]
    if outcomes.actions.is_empty() and not outcomes.lists.is_empty():
        told.append(
            "Nothing is known of what shoppers did since the first list; send events to the service, or bring them in "
            f"with `hubspoke data ingest {own.domain} --events FILE`."
        )
    if outcomes.mixed:
        told.append(f"{outcomes.mixed} shoppers were shown both arms and are left out.")
    unknown = outcomes.bought.filter(pl.col("revenue").is_null()).height
    if unknown and not outcomes.unpriced:
        told.append(f"{unknown} purchases have neither a value nor a price in the catalog and count as 0.")
    return told


def _verdict(
    own: ExperimentRecord, arms: Sequence[ExperimentArm], p: float | None, row: MetricEffect, splitting: bool
) -> tuple[Outcome, str]:
    control, candidate = arms
    if p is None:
        wait = "" if splitting else ", and shoppers are not being split"
        return "nothing", f"No list of {own.ref} has been shown yet{wait}."
    if p < MISMATCH:
        return "unsound", (
            f"The split is unsound: {candidate.shoppers:,} of {candidate.shoppers + control.shoppers:,} shoppers saw "
            f"the candidate, where {own.share:.4g} of them were to (p = {p:.2g}). Find out why before reading on."
        )
    if row.reason is not None and min(control.counted, candidate.counted) >= 2:
        return "unmeasured", f"{row.metric} decides and cannot be measured: {row.reason}."
    if min(control.counted, candidate.counted) < LEAST:
        return "early", (
            f"Too early: the window of {control.counted:,} shoppers of control and {candidate.counted:,} of candidate "
            f"is over, and {LEAST} of each are the least."
        )
    counted = control.counted + candidate.counted
    figure = _figure(row, counted)
    if row.clear:
        side: Outcome = "better" if (row.difference or 0) > 0 else "worse"
        return side, f"The candidate is {side}: {figure}."
    more = f"keep looking, {own.planned:,} shoppers were planned"
    if counted >= own.planned:
        more = f"the {own.planned:,} planned are reached, so what difference there is is small"
    if own.stopped_at is not None:
        more = "the experiment has ended"
    return "open", f"No difference is clear: {figure}; {more}."


def figure_of(found: ExperimentReport) -> str:
    """What decides in one line."""
    return _figure(found.deciding, sum(arm.counted for arm in found.arms))


def _figure(row: MetricEffect, shoppers: int) -> str:
    """A difference in one line: what it is, from what to what, and its interval at any number of looks."""
    if row.control is None or row.candidate is None or row.difference is None or row.always is None:
        return f"{row.metric} is not measured ({row.reason})"
    relative = "" if row.relative is None else f", {row.relative:+.1%}"
    interval = f"{row.always[0]:+.3g} to {row.always[1]:+.3g} at any look"
    return (
        f"{row.metric} per shopper {row.control:.4g} to {row.candidate:.4g} ({row.difference:+.3g}{relative}; "
        f"{interval}, {shoppers:,} shoppers)"
    )
