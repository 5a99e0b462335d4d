"""Rank the whole catalog for every user of an evaluation set and keep what each user got."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..arrays import BoolArray, DoubleArray, FloatArray, IntArray
from ..catalog.likeness import gini
from ..catalog.sequences import Histories
from ..errors import IncompatibleError, InvalidDataError, UsageError
from ..progress import StepProgress
from .bootstrap import Estimate, mean_interval
from .lists import (
    CALIBRATION,
    COLD_EXPOSURE,
    DIVERSITY,
    GINI,
    NOVELTY,
    SERENDIPITY,
    TAIL_EXPOSURE,
    best_of,
    diversity,
    expected_items,
    exposure,
    miscalibration,
    novelty,
    serendipity,
    surprise,
    unit_content,
)
from .metrics import COVERAGE_K, target_ranks, top_items, user_metrics
from .protocols import EvaluationSet, Protocol
from .slices import item_slices

Score = Callable[[Histories], FloatArray]
COVERAGE = f"coverage@{COVERAGE_K}"


@dataclass(frozen=True)
class ItemFacts:
    """What is known of the N items of a catalog beside their events."""

    content: FloatArray | None = None  # (N, R) what diversity of lists is measured by
    categories: IntArray | None = None  # (N,) numbers from 0, what calibration of lists is measured by
    groups: Mapping[str, BoolArray] = field(default_factory=dict)  # further slices: name to (N,)


NO_FACTS = ItemFacts()


@dataclass(frozen=True)
class SliceResult:
    """The users who have a target in one slice, and what they got."""

    users: tuple[str, ...]
    metrics: dict[str, DoubleArray]  # name to (U,) values; on the slice `all` also what the lists are like, see `lists`
    n_targets: int  # over all users
    coverage: float | None  # share of the slice's items that stand in anybody's top 100; None for a group of users
    gini: float | None = None  # of the times that items stand in a top 10; on the slice `all` alone

    @property
    def overall(self) -> dict[str, float]:
        """What belongs to all users together, and so has no interval."""
        found = {COVERAGE: self.coverage, GINI: self.gini}
        return {name: value for name, value in found.items() if value is not None}

    def estimate(self, metric: str) -> Estimate:
        """Mean of a per-user metric with its bootstrap interval."""
        return mean_interval(self.metrics[metric])


@dataclass(frozen=True)
class TargetRanks:
    """Where T targets were ranked, ties at the middle of their places."""

    users: tuple[str, ...]  # T
    items: IntArray  # (T,)
    ranks: DoubleArray  # (T,)


@dataclass(frozen=True)
class Evaluation:
    """What a recommender reached on an evaluation set."""

    slices: dict[str, SliceResult]  # those that hold at least one target
    empty_slices: tuple[str, ...]  # the others
    protocol: Protocol
    n_users: int  # with at least one target
    n_left_out: int  # that the protocol could not test, or whose targets were all dropped
    n_dropped_targets: int  # those that the user had seen, where seen items are excluded
    targets: TargetRanks  # the others

    def mean(self, metric: str, slice_name: str = "all") -> float:
        """One number, e.g. `mean("ndcg@10", "cold")` or `mean("coverage@100")`."""
        found = self[slice_name]
        return found.overall[metric] if metric in found.overall else float(found.metrics[metric].mean())

    def __getitem__(self, slice_name: str) -> SliceResult:
        if slice_name not in self.slices:
            raise UsageError(f"Slice {slice_name!r} holds no target here; choose one of {', '.join(self.slices)}.")
        return self.slices[slice_name]

    def to_json(self) -> dict[str, Any]:
        """Means, 95 % intervals and counts as plain data; empty slices are named, not filled with zeros."""
        estimates = {name: {m: part.estimate(m) for m in part.metrics} for name, part in self.slices.items()}
        return {
            "metrics": {
                name: {m: e.value for m, e in found.items()} | self.slices[name].overall
                for name, found in estimates.items()
            },
            "intervals": {name: {m: [e.low, e.high] for m, e in found.items()} for name, found in estimates.items()},
            "protocol": self.protocol.model_dump(mode="json") | {"description": self.protocol.describe()},
            "n_users": self.n_users,
            "n_left_out": self.n_left_out,
            "n_targets": {name: part.n_targets for name, part in self.slices.items()},
            "n_dropped_targets": self.n_dropped_targets,
            "empty_slices": list(self.empty_slices),
        }


@dataclass(frozen=True)
class _Batch:
    """What B users got: the rank of each of their T targets that is left, and what each of their lists is like."""

    users: IntArray  # (T,) rows of the evaluation set
    items: IntArray  # (T,)
    ranks: DoubleArray  # (T,)
    shown: BoolArray  # (N,) items in anybody's top 100
    times: IntArray  # (N,) times that an item stands in a top 10
    lists: dict[str, DoubleArray]  # metric to (B,)
    n_dropped: int


def evaluate(
    score: Score,
    evaluation_set: EvaluationSet,
    batch_size: int = 256,
    progress: StepProgress | None = None,
    facts: ItemFacts = NO_FACTS,
    groups: Mapping[str, BoolArray] | None = None,
) -> Evaluation:
    """Full-ranking evaluation; the result does not depend on `batch_size`.

    `score` maps B histories (item rows, oldest first, at most `max_history` each) to (B, N) scores. `facts` of the
    items add what lists are measured by, and slices of items; `groups`, name to (U,), slices of users.
    """
    known = _Known.of(evaluation_set, facts)
    # Scores of all users at once would be users x items floats; a batch keeps only what the summary needs.
    batches, n_users = [], len(evaluation_set)
    for start in range(0, n_users, batch_size):
        end = min(start + batch_size, n_users)
        batches.append(_rank(score, evaluation_set.only(range(start, end)), start, known))
        if progress is not None:
            progress(end, n_users)
    if not any(len(batch.ranks) for batch in batches):
        raise InvalidDataError(
            f"None of {n_users + evaluation_set.n_left_out} users with sessions has anything to be tested on; bring "
            "more events or another split, or ingest with --sessions per_user, which keeps short sessions."
        )
    return _summarise(batches, evaluation_set, known.slices, groups or {})


@dataclass(frozen=True)
class _Known:
    """What lists are measured by: training and catalog alone decide it, so it is the same for all batches."""

    slices: Mapping[str, BoolArray]  # (N,) each
    bits: DoubleArray  # (N,) how surprising each item is
    expected: BoolArray  # (N,)
    directions: FloatArray | None  # (N, R)
    categories: IntArray | None  # (N,)

    @classmethod
    def of(cls, evaluation_set: EvaluationSet, facts: ItemFacts) -> _Known:
        """Facts about the items of a set; IncompatibleError where they are of another catalog."""
        counts, content = evaluation_set.train_counts, facts.content
        given = {"Content": content, "Categories": facts.categories, **facts.groups}
        for name, rows in given.items():
            if rows is not None and len(rows) != len(counts):
                raise IncompatibleError(
                    f"{name} of {len(rows)} items was given for a catalog of {len(counts)}; "
                    "take the item snapshot that is evaluated."
                )
        # A catalog without text and pictures has content of no columns.
        directions = unit_content(content) if content is not None and content.shape[1] else None
        slices = item_slices(counts, evaluation_set.protocol.cold_threshold) | dict(facts.groups)
        return cls(slices, surprise(counts), expected_items(counts), directions, facts.categories)

    def lists(self, histories: Histories, best: IntArray) -> dict[str, DoubleArray]:
        """Metric to (B,): what each user's ten items (B, 10) are like."""
        found = {
            NOVELTY: novelty(best, self.bits),
            COLD_EXPOSURE: exposure(best, self.slices["cold"]),
            TAIL_EXPOSURE: exposure(best, self.slices["tail"]),
        }
        if self.directions is not None:
            found[DIVERSITY] = diversity(best, self.directions)
        if self.categories is not None:
            items = [np.asarray(history) for history in histories]
            found[CALIBRATION] = miscalibration(items, best, self.categories)
        return found


def _rank(score: Score, part: EvaluationSet, start: int, known: _Known) -> _Batch:
    """Score the users of a part of the set that begins at row `start` of it."""
    protocol, n_dropped = part.protocol, 0
    histories = [history[-protocol.max_history :] for history in part.histories]
    scores = np.asarray(score(histories))  # (B, N)
    if scores.shape != (len(part), part.n_items):
        raise IncompatibleError(
            f"The recommender returned scores of shape {scores.shape} where {(len(part), part.n_items)} was due; "
            "evaluate it on the item snapshot that it was built for."
        )
    rows, items = flatten(part.targets)
    if protocol.exclude_seen:
        seen = np.zeros(scores.shape, dtype=np.bool_)
        seen[flatten(part.histories)] = True
        # A copy: the recommender may have handed out one shared or read-only row for everybody.
        scores, unseen = np.where(seen, -np.inf, scores), ~seen[rows, items]
        n_dropped, rows, items = int((~unseen).sum()), rows[unseen], items[unseen]
    ranks = target_ranks(scores, rows, items)
    top = top_items(scores)
    shown = np.zeros(part.n_items, dtype=np.bool_)
    shown[top[top >= 0]] = True
    best = best_of(scores, top)
    times = np.bincount(best[best >= 0], minlength=part.n_items)
    lists = known.lists(histories, best)
    lists[SERENDIPITY] = serendipity(ranks, rows, items, known.expected, len(part))
    return _Batch(rows + start, items, ranks, shown, times, lists, n_dropped)


def flatten(arrays: Histories) -> tuple[IntArray, IntArray]:
    """Ragged rows as (row of each entry, entry)."""
    rows = np.repeat(np.arange(len(arrays), dtype=np.int64), [len(array) for array in arrays])
    return rows, np.concatenate(arrays)


def _summarise(
    batches: Sequence[_Batch],
    evaluation_set: EvaluationSet,
    slices: Mapping[str, BoolArray],
    groups: Mapping[str, BoolArray],
) -> Evaluation:
    """The batches together, by slices of items (N,) and by groups of users (U,)."""
    ranks = np.concatenate([batch.ranks for batch in batches])
    items = np.concatenate([batch.items for batch in batches])
    users = np.concatenate([batch.users for batch in batches])
    shown = np.logical_or.reduce([batch.shown for batch in batches])
    parts: list[tuple[str, BoolArray, BoolArray | None]] = [(name, own[items], own) for name, own in slices.items()]
    parts += [(name, own[users], None) for name, own in groups.items()]
    found = {}
    for name, inside, of_items in parts:
        if inside.any():
            present, codes = np.unique(users[inside], return_inverse=True)
            found[name] = SliceResult(
                users=tuple(evaluation_set.users[user] for user in present),
                metrics=user_metrics(ranks[inside], codes.astype(np.int64), len(present), evaluation_set.protocol.ks),
                n_targets=int(inside.sum()),
                coverage=None if of_items is None else float(shown[of_items].mean()),
            )
    present = np.unique(users)
    lists = {name: np.concatenate([batch.lists[name] for batch in batches])[present] for name in batches[0].lists}
    times: IntArray = np.sum([batch.times for batch in batches], axis=0)
    found["all"] = replace(found["all"], metrics=found["all"].metrics | lists, gini=gini(times))
    return Evaluation(
        slices=found,
        empty_slices=tuple(name for name, _, _ in parts if name not in found),
        protocol=evaluation_set.protocol,
        n_users=len(present),
        n_left_out=evaluation_set.n_left_out + len(evaluation_set) - len(present),
        n_dropped_targets=sum(batch.n_dropped for batch in batches),
        targets=TargetRanks(tuple(evaluation_set.users[user] for user in users), items, ranks),
    )
