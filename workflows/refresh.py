"""Refresh a launched category: its newest data in, its index brought up to it, its spoke trained again where that pays.

Made to be repeated, by hand or by a scheduler: what is done already is found, one refresh of a category runs at a time,
and whatever is killed or refused leaves in service what was serving.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Unpack

import numpy as np

from ..errors import CorruptArtifactError, InvalidDataError, QualityGateError, UsageError
from ..registry.lineage.staleness import NEWER_EVENTS, NEWER_HUB, OTHER_HUB
from ..registry.records import ModelRecord, ReleaseRecord
from ..results import Record
from .data import Data, DataIngested
from .evaluations import CompareResult, Evaluations
from .gates import Gates
from .hubs import Hubs
from .indexes import Indexes
from .releases import promote
from .spokes import Spokes
from .steps import Steps
from .targets import live_release

if TYPE_CHECKING:
    from ..arrays import IntArray
    from .context import Context
    from .datasets import Table
    from .ingest import IngestResult, ReadOptions

Retrain = Literal["due", "always", "never"]
# A spoke is due again once the events have grown by this share of those it was trained on.
GROWTH = 0.1
METRIC = "ndcg@10"
# Fewer shoppers than this decide nothing.
LEAST_USERS = 20


@dataclass(frozen=True)
class Judgement(Record):
    """The new training beside what serves, both on the same newest events, which neither has seen."""

    candidate: str  # trained like the version that goes live, but for the events that both are tested on
    live: str  # spoke, or hub where it serves alone
    protocol: str
    n_users: int
    metric: str
    values: tuple[float, float]  # of the candidate and of what serves
    difference: tuple[float, float, float]  # candidate less live, with the bounds of its 95 % interval

    @property
    def passes(self) -> bool:
        """Whether the candidate is as good or better."""
        return self.difference[0] >= 0

    def __str__(self) -> str:
        ours, theirs = self.values
        gap, low, high = self.difference
        return (
            f"{self.metric} {ours:.4f} against {theirs:.4f} of {self.live} (difference {gap:+.4f}, {low:+.4f} to "
            f"{high:+.4f}; {self.n_users} shoppers; {self.protocol})"
        )


@dataclass(frozen=True)
class RefreshResult(Record):
    """What a refresh found and did; `cached` where all was up to date."""

    domain: str
    before: str  # release that served, and that serves now
    after: str
    cached: bool
    due: bool  # whether a new spoke was
    retrained: bool
    why: str  # it was due and trained, or was not
    judged: Judgement | None
    seconds: float
    steps: Sequence[Mapping[str, Any]]  # each with the version it gave, its seconds and whether it was cached
    items: IngestResult | None = None  # how a newer catalog was read
    events: IngestResult | None = None


def refresh(
    context: Context,
    domain: str,
    catalog: Table | None = None,
    events: Table | None = None,
    *,
    retrain: Retrain = "due",
    config: Mapping[str, Any] | None = None,
    dry_run: bool = False,
    **options: Unpack[ReadOptions],
) -> RefreshResult:
    """Bring what serves a category up to its newest data.

    The index of what is live is extended by the newest catalog and promoted. A new spoke is due where none serves yet,
    where hub@live has moved on, or where events have grown by `GROWTH`. It is judged before it is promoted: a training
    that stops halfway through the events that are new to the live version, and that version, are both tested on the
    other half. Below the live version's mean, or refused by the category's gate, it ends with `QualityGateError`; else
    a spoke trained on all events goes live. `config` holds keys of `SpokeConfig`. A dry run says what is due.
    """
    release = _live(context, domain)
    with nullcontext() if dry_run else context.lock(f"refresh {domain}"):
        run = _Refresh(context, domain, release, dry_run)
        if catalog is not None or events is not None:
            run.ingest(catalog, events, options)
        run.extend_index()
        due, why = _due(context, run.release, retrain)
        judged = None
        if due and not dry_run:
            try:
                judged = run.judge(config)
            except CorruptArtifactError:
                raise
            except InvalidDataError as error:
                due, why = False, str(error)
        if judged:
            run.train(config, judged)
        return run.result(due, why, judged)


class _Refresh:
    """A refresh on its way: what served before, and what was done step by step."""

    def __init__(self, context: Context, domain: str, release: ReleaseRecord, dry_run: bool) -> None:
        self.context, self.domain, self.before, self.dry_run = context, domain, release.ref, dry_run
        self.steps = Steps()
        self.taken: DataIngested | None = None

    @property
    def release(self) -> ReleaseRecord:
        """What serves now."""
        return _live(self.context, self.domain)

    def ingest(self, catalog: Table | None, events: Table | None, options: ReadOptions) -> None:
        self.taken = Data(self.context).ingest(self.domain, catalog, events, dry_run=self.dry_run, **options)
        self.steps.add_taken(self.taken)

    def extend_index(self) -> None:
        """The newest catalog in the index of what serves: what is new is found, what has left is not shown."""
        grown = Indexes(self.context).add(self.before, dry_run=self.dry_run)
        self.steps.add("index", grown.ref, grown.cached)
        if grown.ref not in (None, self.release.index):
            try:
                self.steps.add(
                    "release", promote(self.context, str(grown.ref), reason="refresh: newest catalog").after, False
                )
            except QualityGateError as error:
                self.context.progress.note(f"{grown.ref} is stored but not promoted: {error}")

    def judge(self, config: Mapping[str, Any] | None) -> Judgement:
        """Train up to the middle of what is new and compare with what serves on the rest; refuse what is worse."""
        from ..evaluation.protocols import Protocol

        release = self.release
        live = self.context.registry.models.get(release.spoke or release.hub)
        cut = _middle_of_new_events(self.context, self.domain, live)
        # What is compared was fitted alike.
        refit = bool(live.summary.get("split", {}).get("refit", True))
        hub = Hubs(self.context).ensure()
        made = Spokes(self.context).train(
            self.domain, config=config, hub=hub, split="temporal", test_from=cut, refit=refit, promote=False
        )
        self.steps.add("spoke to be judged", made.ref, made.cached)
        candidate = str(made.ref)
        protocol = Protocol(name="temporal", test_from=cut)
        found = Evaluations(self.context).compare(self.domain, [live.ref, candidate], live.ref, protocol)
        self.steps.add("evaluation", found.results[1].evaluation, False)
        judged = _judgement(found, candidate)
        if judged.n_users < LEAST_USERS:
            raise InvalidDataError(
                f"only {judged.n_users} shoppers have events to test a new spoke on, of {LEAST_USERS} that are "
                "needed; refresh again when there are more."
            )
        if not judged.passes:
            raise QualityGateError(
                f"{candidate} ranks the newest events of {self.domain} worse than what is live: {judged}; "
                f"{self.release.ref} stays live, with the newest catalog. Refresh again with more events, or promote "
                "a version by hand."
            )
        Gates(self.context).check(self.domain, candidate).require_passing()
        return judged

    def train(self, config: Mapping[str, Any] | None, judged: Judgement) -> None:
        """The same training on all events, live."""
        hub = Hubs(self.context).ensure()
        made = Spokes(self.context).train(self.domain, config=config, hub=hub, split="all", refit=True)
        self.steps.add("spoke", made.ref, made.cached)
        # A gate has judged the twin: nothing is left that a spoke trained on every event could be tested on.
        gate = self.context.registry.gates.get(self.domain)
        reason = f"refresh: judged as {judged.candidate}, {judged}"
        moved = promote(self.context, str(made.ref), reason=reason, override=bool(gate and gate.conditions))
        self.steps.add("release", moved.after, moved.cached)

    def result(self, due: bool, why: str, judged: Judgement | None) -> RefreshResult:
        after = self.release.ref
        cached = after == self.before and all(step["cached"] for step in self.steps.done)
        done = (due, judged is not None, why, judged, self.steps.seconds, self.steps.done)
        items, events = (self.taken.items, self.taken.events) if self.taken else (None, None)
        return RefreshResult(self.domain, self.before, after, cached, *done, items, events)


def _live(context: Context, domain: str) -> ReleaseRecord:
    live = live_release(context.registry, domain)
    if live is None:
        raise UsageError(f"Nothing is live in {domain} yet; launch it with `hubspoke launch {domain} --catalog FILE`.")
    return live


def _due(context: Context, release: ReleaseRecord, retrain: Retrain) -> tuple[bool, str]:
    """Whether a spoke is to be trained, and why or why not."""
    from .datasets import find_snapshot

    if find_snapshot(context, release.domain, "events") is None:
        return False, "there are no events to train on"
    if retrain != "due":
        return retrain == "always", f"as asked for: {retrain}"
    if release.spoke is None:
        return True, "no spoke serves yet"
    behind = context.registry.lineage.staleness(release.domain)
    hub = next((one for one in behind if one.what in (NEWER_HUB, OTHER_HUB)), None)
    if hub:
        return True, hub.detail
    events = next((one for one in behind if one.what == NEWER_EVENTS and one.part == release.spoke), None)
    if events is None:
        return False, f"{release.spoke} was trained on the newest events"
    had, has = (context.registry.snapshots.get(ref).rows for ref in (events.has, events.newest))
    return has >= (1 + GROWTH) * had, f"{events.detail}; a new spoke is due from {GROWTH:.0%} more on"


def _middle_of_new_events(context: Context, domain: str, live: ModelRecord) -> datetime:
    """The moment that halves the events that the live model has not seen; of all, where it has seen none."""
    from ..evaluation.protocols import EPOCH
    from .datasets import load_dataset, time_kind

    dataset = load_dataset(context, domain)
    if dataset.event_snapshot is None or time_kind(dataset.event_snapshot) == "order":
        raise InvalidDataError(
            f"the events of {domain} have an order but no times, so none are newest ones to be tested on."
        )
    moments: IntArray = np.sort(dataset.sequences.timestamps)
    seen = live.summary.get("training_end")
    new = moments if seen is None else moments[moments > seen]
    later = new[new > new[0]] if len(new) else new
    if not len(later):
        raise InvalidDataError(f"no events of {domain} are new to {live.ref}, so none could tell which is better.")
    return EPOCH + timedelta(microseconds=int(max(new[len(new) // 2], later[0])))


def _judgement(compared: CompareResult, candidate: str) -> Judgement:
    rows = {row.model: row for row in compared.rows if row.slice == "all" and row.metric == METRIC}
    ours, theirs = rows[candidate], rows[compared.baseline]
    gap = (ours.difference or 0.0, ours.difference_low or 0.0, ours.difference_high or 0.0)
    protocol = str(compared.protocol["description"])
    return Judgement(candidate, compared.baseline, protocol, compared.n_users, METRIC, (ours.value, theirs.value), gap)
