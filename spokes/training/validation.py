"""How validation is measured inside a training: NDCG@10 by full ranking, seen items filtered where few buy twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ...arrays import BoolArray, FloatArray, IntArray
from ...catalog.sequences import History, Sequences
from ...evaluation.evaluate import flatten
from ...evaluation.metrics import target_ranks, user_metrics
from ...evaluation.protocols import EvaluationSet

# Below this share of repeated interactions a category counts as one where an item is taken once.
REPEAT_SHARE = 0.05
# Scores of one validation: users times items, at most. Checkpoints are compared on fewer than a mixture is chosen on,
# because that happens once and not after every epoch.
MAX_SCORES = 20_000_000
MAX_MIXTURE_SCORES = 100_000_000
# Scores held at once while a mixture is chosen.
BLOCK_SCORES = 5_000_000


@dataclass(frozen=True)
class Validation:
    """A fixed set of users for choosing, and the measure under both serving policies."""

    users: EvaluationSet
    filter_seen: bool  # the policy that checkpoints are compared under

    @property
    def returns_at_once(self) -> bool:
        """Whether any user took the item of the last event once more."""
        histories, targets = self.users.histories, self.users.targets
        return any(
            history.items[-1] in target for history, target in zip(histories, targets, strict=True) if len(history)
        )

    @property
    def returns(self) -> bool:
        """Whether any user took an item once more."""
        return any(
            bool(np.isin(target, own.items).any())
            for own, target in zip(self.histories, self.users.targets, strict=True)
        )

    @property
    def histories(self) -> list[History]:
        """The recent history of each user."""
        return [history[-self.users.protocol.max_history :] for history in self.users.histories]

    def ndcg(self, scores: FloatArray, filter_seen: bool, held_back: int = 0) -> FloatArray:
        """(U, N) scores to (U,) NDCG@10; a user whose only target is not shown counts as missed.

        No item of a history is ranked with `filter_seen`, and without it none of its last `held_back` events.
        """
        rows, items = flatten(self.users.targets)
        hidden = flatten([own if filter_seen else own[max(0, len(own) - held_back) :] for own in self.users.histories])
        if len(hidden[0]):
            scores = scores.copy()
            scores[hidden] = -np.inf
        ranks = target_ranks(scores, rows, items)
        return user_metrics(ranks, rows, len(self.users), (10,))["ndcg@10"].astype(np.float32)

    def sample(self, at_most: int, seed: int) -> Validation:
        """At most `at_most` users, fewer where the catalog is large; the same for the same seed."""
        limit = user_limit(at_most, self.users.n_items, MAX_SCORES)
        return replace(self, users=self.users.drawn(limit, seed))

    def asked_for(self, wanted: BoolArray) -> tuple[Validation, IntArray]:
        """The users with a target among the (N,) wanted items, asked for those alone, and their rows."""
        targets = [own[wanted[own]] for own in self.users.targets]
        rows = np.flatnonzero([len(own) > 0 for own in targets])
        return replace(self, users=replace(self.users, targets=targets).only(rows.tolist())), rows

    def blocks(self) -> Iterator[Validation]:
        """The users in their order, in blocks whose scores fit in memory; one empty block where there is nobody."""
        size = user_limit(len(self.users), self.users.n_items, BLOCK_SCORES)
        for start in range(0, max(1, len(self.users)), size):
            yield replace(self, users=self.users.only(range(start, min(start + size, len(self.users)))))


def validation(users: EvaluationSet, sequences: Sequences, at_most: int, seed: int) -> Validation:
    """At most `at_most` users to choose a mixture on, fewer where the catalog is large; the same for the same seed."""
    limit = user_limit(at_most, users.n_items, MAX_MIXTURE_SCORES)
    return Validation(users.drawn(limit, seed), filter_seen=repeat_share(sequences) < REPEAT_SHARE)


def user_limit(at_most: int, n_items: int, scores: int) -> int:
    """Users of whom all scores over a catalog of N items are no more than `scores`; one at least."""
    return max(1, min(at_most, scores // max(1, n_items)))


def repeat_share(sequences: Sequences) -> float:
    """Share of events on an item that the same user had met before."""
    return 1.0 - distinct_events(sequences) / len(sequences.items) if len(sequences.items) else 0.0


def distinct_events(sequences: Sequences) -> int:
    """Events on an item that the same user had not met before."""
    users = np.repeat(sequences.users, sequences.lengths)
    return len(np.unique(users * np.int64(sequences.n_items) + sequences.items))
