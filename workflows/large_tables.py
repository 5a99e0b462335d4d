"""Event tables beyond memory in the workflow of a spoke: the same splits, users and counts, one shard at a time.

Everything here is cut and counted user by user, and no user is in two shards, so the answers are those of the whole
table in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import IntArray
from ..catalog.streams import SequenceStream
from ..evaluation.protocols import EvaluationSet, Protocol, asked_users, evaluation_set, training_mask
from ..spokes.training.splits import SplitParts, cut_of, too_few
from ..spokes.training.validation import MAX_MIXTURE_SCORES, REPEAT_SHARE, Validation, distinct_events, user_limit

if TYPE_CHECKING:
    from ..spokes.config import SpokeConfig


def split_stream(stream: SequenceStream, split: str, test_from: datetime | None, config: SpokeConfig) -> SplitParts:
    """What `splits.split_parts` makes of the whole table: the same events, the same users, the same policy.

    Raises:
        InvalidDataError: nobody has enough events.
    """
    cut = cut_of(stream, split, test_from)
    train = stream.cut(lambda shard: shard.keep_events(cut.masks(shard).train))
    refit = stream.cut(lambda shard: shard.keep_events(cut.masks(shard).refit))
    protocol = cut.validation()
    asked = stream if cut.until is None else refit
    survey = _survey(stream, asked, refit, protocol)
    if not sum(survey.testable) or not (train.length_counts()[0] >= 2).any():
        raise too_few(survey.known)
    users = _draw(asked, survey, protocol, config)
    return SplitParts(train, refit, Validation(users, survey.repeat_share < REPEAT_SHARE), cut.as_tested, cut.until)


@dataclass
class _Survey:
    """What one pass over all shards finds.

    Attributes:
        testable: users of each shard who can be asked.
        n_left_out: users who should be asked and cannot be.
        known: users that the domain has.
        train_counts: (N,) events of each item in the training part of the protocol that users are asked under.
        events: that may be seen.
        distinct: those of them that are a user's first on their item.
    """

    testable: list[int]
    n_left_out: int
    known: int
    train_counts: IntArray
    events: int
    distinct: int

    @property
    def repeat_share(self) -> float:
        """As `measures.repeat_share` of all shards together."""
        return 1.0 - self.distinct / self.events if self.events else 0.0


def _survey(stream: SequenceStream, asked: SequenceStream, refit: SequenceStream, protocol: Protocol) -> _Survey:
    found = _Survey([], 0, 0, np.zeros(stream.n_items, np.int64), 0, 0)
    for shard in stream.shards():
        own, seen = asked.kept_of(shard), refit.kept_of(shard)
        testable, left_out = asked_users(own, protocol)
        found.testable.append(len(testable))
        found.n_left_out += left_out
        found.known += len(shard.user_ids)
        found.train_counts += own.keep_events(training_mask(own, protocol)).item_counts()
        found.events += seen.n_events
        found.distinct += distinct_events(seen)
    return found


def _draw(asked: SequenceStream, survey: _Survey, protocol: Protocol, config: SpokeConfig) -> EvaluationSet:
    """The users that `measures.validation` draws from the whole table."""
    total, limit = sum(survey.testable), user_limit(config.training.mixture_users, asked.n_items, MAX_MIXTURE_SCORES)
    rows = np.arange(total)
    if total > limit:
        rows = np.sort(np.random.default_rng(config.seed).choice(total, limit, replace=False))
    found = list(_chosen(asked, survey.testable, rows, protocol))
    return EvaluationSet(
        histories=[history for own in found for history in own.histories],
        targets=[target for own in found for target in own.targets],
        users=[user for own in found for user in own.users],
        train_counts=survey.train_counts,
        n_left_out=survey.n_left_out,
        protocol=protocol,
    )


def _chosen(
    asked: SequenceStream, testable: Sequence[int], rows: IntArray, protocol: Protocol
) -> Iterator[EvaluationSet]:
    """What is asked of the users with these places among all testable ones; shards without any are not read."""
    last = np.cumsum(testable)
    for number, (end, count) in enumerate(zip(last.tolist(), testable, strict=True)):
        places = rows[(rows >= end - count) & (rows < end)] - (end - count)
        if len(places):
            shard = asked.shard(number)
            mine = np.isin(np.repeat(shard.users, shard.lengths), asked_users(shard, protocol)[0][places])
            yield evaluation_set(shard.keep_events(mine), protocol)
