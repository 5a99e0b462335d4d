"""Rank the whole catalog for every user of an evaluation set and keep what each user got.

A recommender is any function from histories to a score for every item; nothing is known here of how it was trained.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import BoolArray, FloatArray, IntArray
from ..catalog.sequences import Histories
from ..errors import IncompatibleError, InvalidDataError, UsageError
from .bootstrap import Estimate, mean_interval
from .lists import DIVERSITY, NOVELTY, best_of, diversity, novelty, surprise, unit_content
from .metrics import COVERAGE_K, covered_items, target_ranks, top_items, user_metrics
from .protocols import EvaluationSet, Protocol
from .slices import item_slices

Score = Callable[[Histories], FloatArray]
Progress = Callable[[int, int], None]
COVERAGE = f"coverage@{COVERAGE_K}"


@dataclass(frozen=True)
class SliceResult:
    """The users who have a target in one slice, and what they got.

    Attributes:
        users: (U,) user identifiers.
        metrics: name -> (U,) values; on the slice `all` also what the lists are like, see `lists`.
        n_targets: targets in the slice, over all users.
        coverage: share of the slice's items that stand in anybody's top 100.
    """

    users: tuple[str, ...]
    metrics: dict[str, npt.NDArray[np.float64]]
    n_targets: int
    coverage: float

    def estimate(self, metric: str) -> Estimate:
        """Mean of a per-user metric with its bootstrap interval."""
        return mean_interval(self.metrics[metric])


@dataclass(frozen=True)
class Evaluation:
    """What a recommender reached on an evaluation set.

    Attributes:
        slices: results of the slices that hold at least one target.
        empty_slices: names of the others.
        protocol: how it was measured.
        n_users: users with at least one target.
        n_left_out: users that the protocol could not test, or whose targets were all dropped.
        n_dropped_targets: targets dropped because the user had seen them and seen items are excluded.
    """

    slices: dict[str, SliceResult]
    empty_slices: tuple[str, ...]
    protocol: Protocol
    n_users: int
    n_left_out: int
    n_dropped_targets: int

    def mean(self, metric: str, slice_name: str = "all") -> float:
        """One number, e.g. `mean("ndcg@10", "cold")` or `mean("coverage@100")`."""
        found = self[slice_name]
        return found.coverage if metric == COVERAGE else float(found.metrics[metric].mean())

    def __getitem__(self, slice_name: str) -> SliceResult:
        if slice_name not in self.slices:
            raise UsageError(f"Slice {slice_name!r} holds no target here; choose one of {', '.join(self.slices)}.")
        return self.slices[slice_name]

    def to_json(self) -> dict[str, Any]:
        """Means, 95 % intervals and counts as plain data; empty slices are named, not filled with zeros."""
        estimates = {name: {m: part.estimate(m) for m in part.metrics} for name, part in self.slices.items()}
        return {
            "metrics": {
                name: {m: e.value for m, e in found.items()} | {COVERAGE: self.slices[name].coverage}
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
class _ItemFacts:
    """What is known of the catalog's items: (N,) surprise, and (N, R) content of length one where it was given."""

    bits: npt.NDArray[np.float64]
    content: FloatArray | None


@dataclass
class _Tally:
    """Ranks gathered batch by batch, and what each user's list is like."""

    covered: BoolArray
    facts: _ItemFacts
    lists: dict[str, list[npt.NDArray[np.float64]]] = field(default_factory=lambda: defaultdict(list))
    ranks: list[npt.NDArray[np.float64]] = field(default_factory=list)
    items: list[IntArray] = field(default_factory=list)
    users: list[IntArray] = field(default_factory=list)
    n_dropped: int = 0


def evaluate(
    score: Score,
    evaluation_set: EvaluationSet,
    batch_size: int = 256,
    progress: Progress | None = None,
    content: FloatArray | None = None,
) -> Evaluation:
    """Full-ranking evaluation; the result does not depend on `batch_size`.

    Args:
        score: histories (B arrays of item rows, oldest first, at most `max_history` each) -> (B, N) scores.
        evaluation_set: users, histories and targets.
        batch_size: users that are scored at a time.
        progress: called with (users done, users in all) after every batch.
        content: (N, R) content vectors of the catalog, which the diversity of lists is measured by; left out without.

    Raises:
        IncompatibleError: the recommender's scores have another shape than (B, N), or the content is of other items.
        InvalidDataError: a score is NaN, or no user has a target left.
    """
    tally = _Tally(np.zeros(evaluation_set.n_items, dtype=np.bool_), _item_facts(evaluation_set, content))
    for start, end in _batches(len(evaluation_set), batch_size):
        _score_batch(score, evaluation_set, start, end, tally)
        if progress is not None:
            progress(end, len(evaluation_set))
    if not sum(len(ranks) for ranks in tally.ranks):
        raise InvalidDataError(
            f"None of {len(evaluation_set) + evaluation_set.n_left_out} users has anything to be tested on; "
            "bring more events or another split."
        )
    return _summarise(tally, evaluation_set)


def _item_facts(evaluation_set: EvaluationSet, content: FloatArray | None) -> _ItemFacts:
    if content is not None and len(content) != evaluation_set.n_items:
        raise IncompatibleError(
            f"Content of {len(content)} items was given for a catalog of {evaluation_set.n_items}; "
            "embed the item snapshot that is evaluated."
        )
    # A catalog without text and pictures has content of no columns.
    told = unit_content(content) if content is not None and content.shape[1] else None
    return _ItemFacts(surprise(evaluation_set.train_counts), told)


def _batches(n: int, size: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + size, n)) for start in range(0, n, size))


def _score_batch(score: Score, evaluation_set: EvaluationSet, start: int, end: int, tally: _Tally) -> None:
    protocol = evaluation_set.protocol
    histories = evaluation_set.histories[start:end]
    scores = np.asarray(score([history[-protocol.max_history :] for history in histories]))
    if scores.shape != (end - start, evaluation_set.n_items):
        raise IncompatibleError(
            f"The recommender returned scores of shape {scores.shape} where {(end - start, evaluation_set.n_items)} "
            "was due; evaluate it on the item snapshot that it was built for."
        )
    rows, items = flatten(evaluation_set.targets[start:end])
    if protocol.exclude_seen:
        scores, unseen = _without_seen(scores, histories, rows, items)
        tally.n_dropped += int((~unseen).sum())
        rows, items = rows[unseen], items[unseen]
    tally.ranks.append(target_ranks(scores, rows, items))
    tally.items.append(items)
    tally.users.append(rows + start)
    top = top_items(scores)
    tally.covered |= covered_items(top, evaluation_set.n_items)
    _look_at_lists(best_of(scores, top), tally)


def _look_at_lists(top: IntArray, tally: _Tally) -> None:
    facts = tally.facts
    tally.lists[NOVELTY].append(novelty(top, facts.bits))
    if facts.content is not None:
        tally.lists[DIVERSITY].append(diversity(top, facts.content))


def flatten(arrays: Histories) -> tuple[IntArray, IntArray]:
    """Ragged rows as (row of each entry, entry)."""
    rows = np.repeat(np.arange(len(arrays), dtype=np.int64), [len(array) for array in arrays])
    return rows, np.concatenate(arrays)


def _without_seen(
    scores: FloatArray, histories: Histories, rows: IntArray, items: IntArray
) -> tuple[FloatArray, BoolArray]:
    """Scores with the whole history at -inf, and which of the targets (rows, items) were not in it."""
    seen = np.zeros(scores.shape, dtype=np.bool_)
    seen[flatten(histories)] = True
    # A copy: the recommender may have handed out one shared or read-only row for everybody.
    return np.where(seen, -np.inf, scores), ~seen[rows, items]


def _summarise(tally: _Tally, evaluation_set: EvaluationSet) -> Evaluation:
    ranks, items, users = (np.concatenate(parts) for parts in (tally.ranks, tally.items, tally.users))
    masks = item_slices(evaluation_set.train_counts, evaluation_set.protocol.cold_threshold)
    slices = {}
    for name, mask in masks.items():
        inside = mask[items]
        if inside.any():
            coverage = float(tally.covered[mask].mean())
            slices[name] = _slice_result(ranks[inside], users[inside], coverage, evaluation_set)
    like = {name: np.concatenate(parts)[np.unique(users)] for name, parts in tally.lists.items()}
    slices["all"] = replace(slices["all"], metrics=slices["all"].metrics | like)
    n_users = len(slices["all"].users)
    return Evaluation(
        slices=slices,
        empty_slices=tuple(name for name in masks if name not in slices),
        protocol=evaluation_set.protocol,
        n_users=n_users,
        n_left_out=evaluation_set.n_left_out + len(evaluation_set) - n_users,
        n_dropped_targets=tally.n_dropped,
    )


def _slice_result(
    ranks: npt.NDArray[np.float64], users: IntArray, coverage: float, evaluation_set: EvaluationSet
) -> SliceResult:
    present, codes = np.unique(users, return_inverse=True)
    metrics = user_metrics(ranks, codes.astype(np.int64), len(present), evaluation_set.protocol.ks)
    names = tuple(evaluation_set.users[user] for user in present)
    return SliceResult(users=names, metrics=metrics, n_targets=len(ranks), coverage=coverage)
