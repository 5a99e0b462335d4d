"""How validation is measured inside a training: NDCG@10 by full ranking, seen items filtered where few buy twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ...arrays import FloatArray, IntArray
from ...catalog.sequences import History, Sequences
from ...evaluation.evaluate import flatten
from ...evaluation.metrics import target_ranks, user_metrics
from ...evaluation.protocols import EvaluationSet
from ..mixture import Measure

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
    """A fixed set of users for choosing, and the measure under both serving policies.

    Attributes:
        users: what is asked and answered.
        filter_seen: the policy that checkpoints are compared under.
    """

    users: EvaluationSet
    filter_seen: bool

    @property
    def returns_at_once(self) -> bool:
        """Whether any user took the item of the last event once more."""
        histories, targets = self.users.histories, self.users.targets
        return any(
            history.items[-1] in target for history, target in zip(histories, targets, strict=True) if len(history)
        )

    @property
    def histories(self) -> list[History]:
        """The recent history of each user."""
        return [history[-self.users.protocol.max_history :] for history in self.users.histories]

    def measure(self, filter_seen: bool, held_back: int = 0) -> Measure:
        """(U, N) scores to (U,) NDCG@10; users whose only target is filtered count as missed under that policy.

        Args:
            filter_seen: whether no item of a history is ranked.
            held_back: last events of it whose items are not, where it is.
        """
        rows, items = flatten(self.users.targets)
        left_out = [
            history if filter_seen else history[max(0, len(history) - held_back) :] for history in self.users.histories
        ]
        seen = flatten(left_out)

        def ndcg(scores: FloatArray) -> FloatArray:
            shown = scores
            if len(seen[0]):
                shown = scores.copy()
                shown[seen] = -np.inf
            ranks = target_ranks(shown, rows, items)
            return user_metrics(ranks, rows, len(self.users), (10,))["ndcg@10"].astype(np.float32)

        return ndcg

    def sample(self, at_most: int, seed: int) -> Validation:
        """At most `at_most` users, fewer where the catalog is large; the same for the same seed."""
        limit = user_limit(at_most, self.users.n_items, MAX_SCORES)
        return replace(self, users=self.users.drawn(limit, seed))

    def asked_for(self, wanted: npt.NDArray[np.bool_]) -> tuple[Validation, IntArray]:
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
    if not len(sequences.items):
        return 0.0
    return 1.0 - distinct_events(sequences) / len(sequences.items)


def distinct_events(sequences: Sequences) -> int:
    """Events on an item that the same user had not met before."""
    users = np.repeat(sequences.users, sequences.lengths)
    return len(np.unique(users * np.int64(sequences.n_items) + sequences.items))
