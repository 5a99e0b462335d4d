"""How much of a kind one list holds, and items that are put off or called before their turn for it."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..arrays import IntArray

Scored = tuple[int, float]  # a row and its score


def best_first(found: Scored) -> tuple[float, int]:
    """The place of a row with its score: equal scores go by row, which is the order of the catalog."""
    return -found[1], found[0]


@dataclass(frozen=True)
class Cap:
    """At most `limit` items of one list are of one kind."""

    of: str
    limit: int
    kinds: IntArray  # (N,) a number for each kind, -1 for items that are not counted


class Counts:
    """How much of each kind a list holds."""

    def __init__(self, caps: Sequence[Cap], shown: Sequence[int]) -> None:
        self._caps = caps
        self._held: dict[str, Counter[int]] = {cap.of: Counter(cap.kinds[list(shown)].tolist()) for cap in caps}

    def has_place(self, cap: Cap, row: int) -> bool:
        """Whether a row would not be too much of its kind."""
        kind = int(cap.kinds[row])
        return kind < 0 or self._held[cap.of][kind] < cap.limit

    def admit(self, row: int) -> bool:
        """Whether every cap has a place for a row, which is counted then."""
        if not all(self.has_place(cap, row) for cap in self._caps):
            return False
        for cap in self._caps:
            self._held[cap.of][int(cap.kinds[row])] += 1
        return True

    def admitted(self, ranked: Iterable[Scored]) -> Iterator[Scored]:
        """What of a ranking is not too much of its kind."""
        return (scored for scored in ranked if self.admit(scored[0]))


class Queue:
    """A ranking beside its new items, which may be called before their turn; rows that are shown stand before it.

    `groups` (N,) number what is one product, of which no second row is called.
    """

    def __init__(
        self,
        ranked: Iterable[Scored],
        new: Iterable[Scored],
        counts: Counts,
        shown: Sequence[int],
        groups: IntArray | None,
    ) -> None:
        self._ranked, self._new, self._counts, self._groups = iter(ranked), iter(new), counts, groups
        self._rows, self._products = set(shown), {self._product(row) for row in shown}
        self._called: set[int] = set()  # products that came before their turn
        self._again: deque[Scored] = deque()  # other rows of these, which come behind everything else

    def take(self, new: bool) -> Scored | None:
        """The next new item, where one is asked for and left, or else the next of the ranking; None at its end."""
        found = self._next_new() if new else None
        return found or self._next()

    def _next_new(self) -> Scored | None:
        for row, score in self._new:
            if row not in self._rows and self._product(row) not in self._products and self._counts.admit(row):
                self._called.add(self._product(row))
                return self._placed(row, score)
        return None

    def _next(self) -> Scored | None:
        for row, score in self._ranked:
            if row in self._rows:
                continue
            if self._product(row) in self._called:
                self._again.append((row, score))
            elif self._counts.admit(row):
                return self._placed(row, score)
        while self._again:
            row, score = self._again.popleft()
            if self._counts.admit(row):
                return self._placed(row, score)
        return None

    def _placed(self, row: int, score: float) -> Scored:
        self._rows.add(row)
        self._products.add(self._product(row))
        return row, score

    def _product(self, row: int) -> int:
        return row if self._groups is None else int(self._groups[row])


def put_off(
    ranked: Iterable[Scored], kinds: IntArray, share: float, reach: int, shown: Sequence[int] = ()
) -> Iterator[Scored]:
    """The ranking with at most a share of every beginning, rounded up, of one kind, as long as there are others.

    `kinds` (N,) are numbers. What there is too much of waits for the first place that it may have, or for the end of
    the next `reach` rows, and rows that are shown stand before it.
    """
    following, waiting = iter(ranked), deque[Scored]()
    held, length = Counter(kinds[list(shown)].tolist()), len(shown)
    while True:
        limit = math.ceil(share * (length + 1) - 1e-9)
        found = next((own for own in waiting if held[int(kinds[own[0]])] < limit), None)
        while found is None and len(waiting) < reach and (own := next(following, None)) is not None:
            waiting.append(own)
            found = own if held[int(kinds[own[0]])] < limit else None
        found = found or next(iter(waiting), None)
        if found is None:
            return
        waiting.remove(found)
        held[int(kinds[found[0]])] += 1
        length += 1
        yield found
