"""What the training of a re-ranker is: the spoke that it ranks for, the data, and the periods that keep it honest.

Where events have times: at each of a few origins generators learn from what lies before it, and candidates are labelled
by what followed until the next; the labels of the last origin are for early stopping. What comes after `test_from`
judges the result, with generators that have seen everything before it. Where only the order is known, or too few
shoppers come back, each shopper's last but one event labels and the last one judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from ..errors import InvalidDataError, UsageError
from ..evaluation.protocols import EPOCH, Protocol, asked_users, microseconds
from ..ranking.config import RerankConfig
from ..registry.kinds import ModelKind
from ..registry.records import ModelRecord
from ..spokes.config import without_retired
from ..spokes.training.splits import window_start
from .context import Context
from .datasets import Dataset, load_dataset, require_sessions, time_kind
from .loading import ready_model, spoke_ref
from .models import Recipe, parse_config
from .spoke_plan import SpokeJob

# Fewer shoppers teach nothing, and judge nothing.
LEAST = 20


@dataclass(frozen=True)
class RerankJob:
    """What is to be trained on what."""

    domain: str
    spoke: str | None = None  # version; None for the one that is live
    config: Mapping[str, Any] | None = None  # keys of `RerankConfig`
    events: str | None = None  # snapshot; None for the newest
    test_from: datetime | None = None  # where the time that judges begins; None for an eighth of the events


@dataclass(frozen=True)
class Periods:
    """The moments that part the events; see above."""

    origins: tuple[datetime, ...]  # oldest first
    test_from: datetime

    @property
    def test(self) -> Protocol:
        """What is asked by the judge."""
        return Protocol(name="temporal", test_from=self.test_from)

    @property
    def labels(self) -> tuple[Protocol, ...]:
        """What is asked at each origin: what shoppers took from then until the next."""
        ends = (*self.origins[1:], self.test_from)
        return tuple(
            Protocol(name="temporal", test_from=start, test_until=end)
            for start, end in zip(self.origins, ends, strict=True)
        )


@dataclass(frozen=True)
class RerankPlan:
    """A job with its spoke, data and periods, checked, before anything is trained."""

    job: RerankJob
    config: RerankConfig
    spoke: ModelRecord
    hub: str
    dataset: Dataset
    periods: Periods | None  # None where each shopper's last events label and judge
    recipe: Recipe

    @property
    def refit(self) -> bool:
        """Whether spokes learn from their validation events too, after they were chosen by them."""
        own = self.spoke.summary.get("split", {})
        return bool(own.get("refit")) if self.periods is None or own.get("name") == "temporal" else True

    @property
    def kept_out(self) -> Mapping[str, Any]:
        """What the serving spoke was kept from, and the re-ranker beside it too."""
        own = dict(self.spoke.summary.get("split", {}))
        tested_alike = own.get("name") == ("leave-one-out" if self.periods is None else "temporal")
        return own if tested_alike else {"name": "all", "test_from": None, "refit": True}

    @property
    def exclude_seen(self) -> bool:
        """Whether the category's shoppers hardly ever take an item again, so that lists are judged without them."""
        return bool(self.spoke.summary.get("validation_filters_seen"))

    def judged_by(self, exclude_seen: bool) -> Protocol:
        """What the re-ranker is judged by: the time, or the events, that it has not seen."""
        if self.periods is None:
            return Protocol(refit=self.refit, exclude_seen=exclude_seen)
        return self.periods.test.model_copy(update={"exclude_seen": exclude_seen})

    def spoke_jobs(self) -> list[SpokeJob]:
        """The serving spoke's training, repeated on what lies before each origin, and on what lies before the test."""
        same = SpokeJob(
            self.job.domain,
            self.hub,
            without_retired(self.spoke.config),
            items=self.dataset.item_snapshot.ref,
            events=self.job.events,
        )
        if self.periods is None:
            return [same, replace(same, refit=self.refit)]
        cut = replace(same, split="temporal", refit=self.refit)
        return [replace(cut, test_from=moment) for moment in (*self.periods.origins, self.periods.test_from)]


def plan_reranking(context: Context, job: RerankJob) -> RerankPlan:
    """Load a job's data and settle what it leaves open."""
    config = parse_config(RerankConfig, {"seed": context.settings.seed, **(job.config or {})}, "re-ranker")
    spoke = ready_model(context, spoke_ref(context, job.spoke or job.domain), ModelKind.SPOKE)
    if spoke.domain != job.domain:
        raise UsageError(f"{spoke.ref} is a spoke of {spoke.domain}, not of {job.domain}; name one of {job.domain}.")
    dataset = load_dataset(context, job.domain, events=job.events)
    if dataset.event_snapshot is None:
        raise InvalidDataError(f"{job.domain} has no events to learn from; ingest some first.")
    require_sessions(dataset)
    hub = context.registry.models.hub_of(spoke.ref)
    periods = _periods(dataset, spoke, job.test_from, config.origins)
    job = RerankJob(job.domain, spoke.ref, config.model_dump(), dataset.event_snapshot.ref, job.test_from)
    inputs = {
        "spoke": spoke.artifact,
        "hub": hub.artifact,
        "items": dataset.item_snapshot.content_hash,
        "events": dataset.event_snapshot.content_hash,
        "sessions": dict(dataset.domain.settings.get("sessions", {})),
        "split": spoke.summary.get("split"),
        "periods": None if periods is None else [*periods.origins, periods.test_from],
    }
    recipe = Recipe(ModelKind.RERANKER, job.domain, config.model_dump(mode="json"), inputs, config.seed)
    return RerankPlan(job, config, spoke, hub.ref, dataset, periods, recipe)


def _periods(dataset: Dataset, spoke: ModelRecord, test_from: datetime | None, origins: int) -> Periods | None:
    """Where the events are parted: at the spoke's own test where that is in time, and each time an eighth before."""
    assert dataset.event_snapshot is not None
    if time_kind(dataset.event_snapshot) == "order":
        if test_from is not None:
            raise UsageError(f"The events of {dataset.domain.name} have an order and no times; leave --test-from out.")
        return None
    own = spoke.summary.get("split", {})
    if own.get("name") == "temporal":
        kept = datetime.fromisoformat(str(own["test_from"]))
        if test_from not in (None, kept):
            raise UsageError(f"{spoke.ref} is tested from {kept} on, and its re-ranker with it; leave --test-from out.")
        test_from = kept
    events, found = dataset.sequences, list[int]()
    start = window_start(events, (events.newest or 0) + 1) if test_from is None else microseconds(test_from)
    while start is not None and len(found) <= origins:
        found.insert(0, start)
        start = window_start(events, start)
    *before, test = (EPOCH + timedelta(microseconds=own) for own in found) if found else (EPOCH,)
    periods = Periods(tuple(before), test)
    if before and all(len(asked_users(events, protocol)[0]) >= LEAST for protocol in (*periods.labels, periods.test)):
        return periods
    if test_from is None:
        return None
    raise InvalidDataError(
        f"Too few shoppers of {dataset.domain.name} have events on both sides of {test_from}, or of a day before it, "
        "to learn and to judge by; name a date with more on both sides."
    )
