"""How validation is measured inside a training: NDCG@10 by full ranking, seen items filtered where few buy twice."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..catalog.sequences import IntArray, Sequences
from ..evaluation.evaluate import flatten
from ..evaluation.metrics import target_ranks, user_metrics
from ..evaluation.protocols import EvaluationSet
from ..hub.calibration import FloatArray
from ..spokes.mixture import Measure

# Below this share of repeated interactions a category counts as one where an item is taken once.
REPEAT_SHARE = 0.05
# Scores held at once in a validation: users times items, at most.
MAX_SCORES = 20_000_000


@dataclass(frozen=True)
class Validation:
    """A fixed set of users for choosing, and the measure under both serving policies.

    Attributes:
        users: what is asked and answered.
        filter_seen: the policy that checkpoints are compared under.
    """

    users: EvaluationSet
    filter_seen: bool

    @property
    def histories(self) -> list[IntArray]:
        """The recent history of each user."""
        return [history[-self.users.protocol.max_history :] for history in self.users.histories]

    def measure(self, filter_seen: bool) -> Measure:
        """(U, N) scores to (U,) NDCG@10; users whose only target is filtered count as missed under that policy."""
        rows, items = flatten(self.users.targets)
        seen_rows, seen_items = flatten(self.users.histories)
        hidden = np.zeros((len(self.users), self.users.n_items), dtype=bool)
        if filter_seen:
            hidden[seen_rows, seen_items] = True

        def ndcg(scores: FloatArray) -> FloatArray:
            shown = np.where(hidden, -np.inf, scores) if filter_seen else scores
            ranks = target_ranks(shown, rows, items)
            return user_metrics(ranks, rows, len(self.users), (10,))["ndcg@10"].astype(np.float32)

        return ndcg


def validation(users: EvaluationSet, sequences: Sequences, at_most: int, seed: int) -> Validation:
    """At most `at_most` users of `users`, fewer where the catalog is large; the same for the same seed."""
    limit = user_limit(at_most, users.n_items)
    if len(users) > limit:
        rows = np.sort(np.random.default_rng(seed).choice(len(users), limit, replace=False))
        users = replace(
            users,
            histories=[users.histories[r] for r in rows],
            targets=[users.targets[r] for r in rows],
            users=[users.users[r] for r in rows],
        )
    return Validation(users, filter_seen=repeat_share(sequences) < REPEAT_SHARE)


def user_limit(at_most: int, n_items: int) -> int:
    """Users in a validation over a catalog of N items."""
    return max(1, min(at_most, MAX_SCORES // max(1, n_items)))


def repeat_share(sequences: Sequences) -> float:
    """Share of events on an item that the same user had met before."""
    if not len(sequences.items):
        return 0.0
    return 1.0 - distinct_events(sequences) / len(sequences.items)


def distinct_events(sequences: Sequences) -> int:
    """Events on an item that the same user had not met before."""
    users = np.repeat(sequences.users, sequences.lengths)
    return len(np.unique(users * np.int64(sequences.n_items) + sequences.items))
