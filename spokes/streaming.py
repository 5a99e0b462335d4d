"""Sessions that grow event by event: a SASRec state remembers keys and values, so a new event costs one position.

Every state gives what a full pass over its window gives. BERT4Rec reads both sides of an event, so nothing of it can be
remembered: the same interface computes the window again.

The window rule: positions count from the window's first event, so when one must go all others move and are computed
again. By default that happens at each event once `max_length` is reached, and a state equals
`BehaviourModel.session_vectors` at every step. With a smaller `keep` a full window is cut to its last `keep` events at
once and then grows again: an event costs max_length / (max_length - keep) positions on average, and the state equals a
full pass over its last `window_length` events.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..arrays import FloatArray, IntArray
from ..catalog.sequences import History
from ..errors import IncompatibleError, UsageError
from .context import EventContext
from .model import BehaviourModel

Arrays = dict[str, npt.NDArray[np.generic]]
CONTEXT = ("times", "types")
NOTHING: IntArray = np.zeros(0, np.int64)


class SessionState:
    """One shopper's session, as far as the model looks back; made by `start`.

    Attributes:
        model: the model that reads it.
        keep: events of a full window that stay when the next one comes.
        embedding: (D,) the session embedding; zero before the first event.
    """

    def __init__(self, model: BehaviourModel, keep: int) -> None:
        config = model.transformer.config
        self.model = model
        self.keep = keep
        self.embedding: FloatArray = np.zeros(config.dimension, np.float32)
        self._vectors: FloatArray = np.zeros((0, config.dimension), np.float32)  # (T, D) of the window's items
        self._context: dict[str, IntArray] = {}  # (T,) of what of `CONTEXT` is known of the events
        # Keys and values of every block, (blocks, 2, H, max_length, D/H); places beyond the window mean nothing.
        shape = (config.blocks, 2, config.heads, config.max_length, config.dimension // config.heads)
        self._memory = None if model.cloze else torch.zeros(shape, device=model.ids.weight.device)

    @property
    def window_length(self) -> int:
        """Events that the embedding rests on."""
        return len(self._vectors)

    def append(self, vector: FloatArray, time: int | None = None, event_type: int | None = None) -> FloatArray:
        """Take in one event and give the session embedding.

        Args:
            vector: (D,) the item's vector.
            time: when it happened, in microseconds, for a model that reads times; of all events or of none.
            event_type: code of its type as in `Sequences.event_types`, likewise.
        """
        times, types = (None if own is None else np.array([own], np.int64) for own in (time, event_type))
        append_all([self], vector[None], times, types)
        return self.embedding

    def copy(self) -> SessionState:
        """The same session, to be continued in another way."""
        return SessionState.restore(self.model, self.arrays(), check=False)

    def arrays(self) -> Arrays:
        """All there is to it, as arrays that can be stored; `restore` reads them."""
        held: Arrays = {"vectors": self._vectors.copy(), "embedding": self.embedding.copy()}
        held |= {"keep": np.array(self.keep), "model": _fingerprint(self.model), **self._context}
        if self._memory is not None:
            held["memory"] = self._memory[..., : self.window_length, :].cpu().numpy().copy()
        return held

    @classmethod
    def restore(
        cls, model: BehaviourModel, arrays: Mapping[str, npt.NDArray[np.generic]], check: bool = True
    ) -> SessionState:
        """A state from its arrays; IncompatibleError where another model made it."""
        if check and not np.array_equal(arrays["model"], _fingerprint(model)):
            raise IncompatibleError(
                f"The session state of {len(arrays['vectors'])} events was made by another model; start it again and "
                "append its events."
            )
        state = cls(model, int(arrays["keep"]))
        state.embedding = np.array(arrays["embedding"], np.float32)
        state._vectors = np.array(arrays["vectors"], np.float32)
        state._context = {name: np.array(arrays[name], np.int64) for name in CONTEXT if name in arrays}
        if state._memory is not None:
            remembered = torch.from_numpy(np.array(arrays["memory"], np.float32))
            state._memory[..., : state.window_length, :] = remembered.to(state._memory.device)
        return state

    def _require(self, known: Iterable[str]) -> None:
        """Refuse an event of which more or less is known than of those before it."""
        for name in sorted(set(self._context) ^ set(known)) if self.window_length else ():
            raise UsageError(
                f"Some of the {self.window_length + 1} events of a session have {name} and others have not; pass them "
                "for all."
            )

    def _take(self, vector: FloatArray, context: Mapping[str, int]) -> int:
        """Put an event into the window; how many of its last positions are to be computed."""
        full = self.window_length == self.model.max_length - self.model.cloze
        start = self.window_length - self.keep if full else 0
        self._vectors = np.concatenate([self._vectors[start:], vector[None].astype(np.float32)])
        self._context = {
            name: np.append(self._context.get(name, NOTHING)[start:], np.int64(value))
            for name, value in context.items()
        }
        return self.window_length if full or self._memory is None else 1


def start(model: BehaviourModel, keep: int | None = None) -> SessionState:
    """An empty session; of a full window, `keep` events stay when the next one comes, by default all but the oldest."""
    most = model.max_length - 1 - model.cloze
    keep = most if keep is None else keep
    if not min(1, most) <= keep <= most:
        raise UsageError(f"{keep} events of a full window were to stay; keep between 1 and {most} of them.")
    return SessionState(model, keep)


@torch.inference_mode()
def append_all(
    states: Sequence[SessionState], vectors: FloatArray, times: IntArray | None = None, types: IntArray | None = None
) -> FloatArray:
    """Take one event into each of B different sessions of one model; (B, D) session embeddings.

    Args:
        states: the sessions, of any lengths.
        vectors: (B, D) item vectors.
        times: (B,) microseconds, for a model that reads them; of all events of a session or of none.
        types: (B,) codes of event types, likewise.
    """
    if len({id(state) for state in states}) < len(states) or len({id(state.model) for state in states}) > 1:
        raise UsageError(f"{len(states)} sessions were to grow at once; pass different sessions of one model.")
    known = {name: own for name, own in zip(CONTEXT, (times, types), strict=True) if own is not None}
    for state in states:
        state._require(known)  # before any session has changed
    groups: dict[int, list[SessionState]] = {}
    for b, state in enumerate(states):
        fresh = state._take(vectors[b], {name: int(own[b]) for name, own in known.items()})
        groups.setdefault(fresh, []).append(state)
    for fresh, own in groups.items():
        embeddings = _read(own) if own[0]._memory is None else _advance(own, fresh)
        for state, embedding in zip(own, embeddings, strict=True):
            state.embedding = embedding.copy()
    return np.stack([state.embedding for state in states]) if states else np.zeros((0, vectors.shape[1]), np.float32)


def _read(states: Sequence[SessionState]) -> FloatArray:
    """(B, D) embeddings by full passes."""
    table = np.concatenate([state._vectors for state in states])
    ends = np.cumsum([state.window_length for state in states])
    histories = [
        History(np.arange(end - state.window_length, end), *(state._context.get(name) for name in CONTEXT))
        for end, state in zip(ends, states, strict=True)
    ]
    return states[0].model.session_vectors(table, histories)


def _advance(states: Sequence[SessionState], fresh: int) -> FloatArray:
    """(B, D) embeddings after the last `fresh` events of each window, all earlier ones being remembered."""
    transformer = states[0].model.transformer.eval()
    device = states[0].model.ids.weight.device
    lengths = np.array([state.window_length for state in states])
    size = int(lengths.max())
    places = torch.from_numpy(lengths[:, None] - fresh + np.arange(fresh)).to(device)  # (B, T)
    x = torch.from_numpy(np.stack([state._vectors[-fresh:] for state in states])).to(device)  # (B, T, D)
    memories = [state._memory[..., :size, :] for state in states if state._memory is not None]
    # One session's memory is written in place; those of several are brought together, and what is new is taken back.
    memory = memories[0].unsqueeze(2) if len(memories) == 1 else torch.stack(memories, dim=2)
    context = EventContext(*(_padded([state._context.get(name) for state in states], size, device) for name in CONTEXT))
    out: FloatArray = transformer.advance(x, places, memory, context)[:, -1].cpu().numpy()
    if len(memories) > 1:
        for b, own in enumerate(memories):
            own[..., places[b], :] = memory[:, :, b][..., places[b], :]
    return out


def _padded(known: Sequence[IntArray | None], size: int, device: torch.device) -> Tensor | None:
    """(B, size) what is known of each window's events, zeros after its end."""
    rows = [np.pad(own, (0, size - len(own))) for own in known if own is not None]
    return torch.from_numpy(np.stack(rows)).to(device) if rows else None


def _fingerprint(model: BehaviourModel) -> npt.NDArray[np.uint8]:
    """(32,) SHA-256 over what makes a session embedding of item vectors."""
    weights = model.transformer.state_dict()
    if model.mask is not None:
        weights = {**weights, "mask": model.mask.detach()}
    digest = hashlib.sha256(model.transformer.config.model_dump_json().encode())
    for name, weight in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(weight.cpu().contiguous().numpy().tobytes())
    return np.frombuffer(digest.digest(), np.uint8)
