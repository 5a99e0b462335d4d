"""Sessions that grow event by event: a SASRec state remembers keys and values, so a new event costs one position.

Every state gives what a full pass over its window gives. BERT4Rec reads both sides of an event, so nothing of it can be
remembered: the same interface computes the window again.

The window rule: positions count from the window's first event, so when one must go all others move and are computed
again. By default that happens at each event once `max_length` is reached, and a state equals
`SessionTransformer.session_vectors` at every step. With a smaller `keep` a full window is cut to its last `keep` events
at once and then grows again: an event costs max_length / (max_length - keep) positions on average, and the state equals
a full pass over its last `window_length` events.
"""

from __future__ import annotations

import numpy as np

from ..arrays import FloatArray, IntArray
from ..errors import UsageError
from .session_transformer import SessionTransformer

CONTEXT = ("times", "types")
NOTHING: IntArray = np.zeros(0, np.int64)


class SessionState:
    """One shopper's session, as far as the model looks back; made by `start` or `resume`."""

    def __init__(self, model: SessionTransformer, keep: int) -> None:
        dimension = model.config.transformer.dimension
        self.model = model
        self.keep = keep  # events of a full window that stay when the next one comes
        self.embedding: FloatArray = np.zeros(dimension, np.float32)  # (D,) zero before the first event
        self._vectors: FloatArray = np.zeros((0, dimension), np.float32)  # (T, D) of the window's items
        self._context: dict[str, IntArray] = {}  # (T,) of what of `CONTEXT` is known of the events
        self._memory = None if model.mask is not None else model.empty_memory()

    @property
    def window_length(self) -> int:
        """Events that the embedding rests on."""
        return len(self._vectors)

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        memory = 0 if self._memory is None else self._memory.nbytes
        return memory + self._vectors.nbytes + sum(own.nbytes for own in self._context.values())

    def append(self, vector: FloatArray, time: int | None = None, event_type: int | None = None) -> FloatArray:
        """The session embedding after one more event: its item's (D,) vector, microseconds and code of its type."""
        known = {name: own for name, own in zip(CONTEXT, (time, event_type), strict=True) if own is not None}
        for name in sorted(set(self._context) ^ set(known)) if self.window_length else ():
            raise UsageError(
                f"Some of the {self.window_length + 1} events of a session have {name} and others have not; pass them "
                "for all."
            )
        full = self.window_length == self.model.room
        first = self.window_length - self.keep if full else 0
        self._vectors = np.concatenate([self._vectors[first:], vector[None].astype(np.float32)])
        for name, own in known.items():
            self._context[name] = np.append(self._context.get(name, NOTHING)[first:], np.int64(own))
        self._advance(self.window_length if full or self._memory is None else 1)
        return self.embedding

    def _advance(self, fresh: int) -> None:
        """Embed the window, of which all but the last `fresh` events are remembered."""
        first = self.window_length - fresh
        times, types = (self._context.get(name) for name in CONTEXT)
        self.embedding = self.model.encode(self._vectors[first:], times, types, self._memory, first)


def start(model: SessionTransformer, keep: int | None = None) -> SessionState:
    """An empty session; of a full window, `keep` events stay when the next one comes, by default all but the oldest."""
    most = model.room - 1
    keep = most if keep is None else keep
    if not min(1, most) <= keep <= most:
        raise UsageError(f"{keep} events of a full window were to stay; keep between 1 and {most} of them.")
    return SessionState(model, keep)


def resume(
    model: SessionTransformer,
    vectors: FloatArray,
    times: IntArray | None = None,
    types: IntArray | None = None,
    keep: int | None = None,
) -> SessionState:
    """The session after T events with (T, D) item vectors, as if they had been appended one by one: in one pass."""
    state, length = start(model, keep), len(vectors)
    if length > model.room:  # the window after the last cut
        length = state.keep + 1 + (length - model.room - 1) % (model.room - state.keep)
    if length:
        state._vectors = vectors[-length:].astype(np.float32)
        known = zip(CONTEXT, (times, types), strict=True)
        state._context = {name: own[-length:].astype(np.int64) for name, own in known if own is not None}
        state._advance(length)
    return state
