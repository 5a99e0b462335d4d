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
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..arrays import FloatArray, IntArray
from ..catalog.sequences import History
from ..errors import IncompatibleError, UsageError
from .model import BehaviourModel
from .transformer import EventContext

Arrays = dict[str, npt.NDArray[np.generic]]
CONTEXT = ("times", "types")
NOTHING: IntArray = np.zeros(0, np.int64)


class SessionState:
    """One shopper's session, as far as the model looks back; made by `start`."""

    def __init__(self, model: BehaviourModel, keep: int) -> None:
        config = model.transformer.config
        self.model = model
        self.keep = keep  # events of a full window that stay when the next one comes
        self.embedding: FloatArray = np.zeros(config.dimension, np.float32)  # (D,) zero before the first event
        self._vectors: FloatArray = np.zeros((0, config.dimension), np.float32)  # (T, D) of the window's items
        self._context: dict[str, IntArray] = {}  # (T,) of what of `CONTEXT` is known of the events
        # Keys and values of every block, (blocks, 2, H, max_length, D/H); places beyond the window mean nothing.
        shape = (config.blocks, 2, config.heads, config.max_length, config.dimension // config.heads)
        self._memory = None if model.cloze else torch.zeros(shape, device=model.ids.weight.device)

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


def start(model: BehaviourModel, keep: int | None = None) -> SessionState:
    """An empty session; of a full window, `keep` events stay when the next one comes, by default all but the oldest."""
    most = model.max_length - 1 - model.cloze
    keep = most if keep is None else keep
    if not min(1, most) <= keep <= most:
        raise UsageError(f"{keep} events of a full window were to stay; keep between 1 and {most} of them.")
    return SessionState(model, keep)


@torch.inference_mode()
def resume(
    model: BehaviourModel,
    vectors: FloatArray,
    times: IntArray | None = None,
    types: IntArray | None = None,
    keep: int | None = None,
) -> SessionState:
    """The session after T events with (T, D) item vectors, as if they had been appended one by one: in one pass."""
    state = start(model, keep)
    room, length = model.max_length - model.cloze, len(vectors)
    if length > room:  # the window after the last cut
        length = state.keep + 1 + (length - room - 1) % (room - state.keep)
    if length:
        state._vectors = vectors[-length:].astype(np.float32)
        known = zip(CONTEXT, (times, types), strict=True)
        state._context = {name: own[-length:].astype(np.int64) for name, own in known if own is not None}
        state.embedding = _advance([state], length)[0].copy()
    return state


@torch.inference_mode()
def append_all(
    states: Sequence[SessionState], vectors: FloatArray, times: IntArray | None = None, types: IntArray | None = None
) -> FloatArray:
    """Take one event, with (B, D) item vectors, into each of B different sessions of one model; (B, D) embeddings."""
    if len({id(state) for state in states}) < len(states) or len({id(state.model) for state in states}) > 1:
        raise UsageError(f"{len(states)} sessions were to grow at once; pass different sessions of one model.")
    known = {name: own for name, own in zip(CONTEXT, (times, types), strict=True) if own is not None}
    for state in states:  # before any session has changed
        for name in sorted(set(state._context) ^ set(known)) if state.window_length else ():
            raise UsageError(
                f"Some of the {state.window_length + 1} events of a session have {name} and others have not; pass them "
                "for all."
            )
    groups: dict[int, list[SessionState]] = {}  # by how many of the last positions of a window are to be computed
    for b, state in enumerate(states):
        full = state.window_length == state.model.max_length - state.model.cloze
        first = state.window_length - state.keep if full else 0
        state._vectors = np.concatenate([state._vectors[first:], vectors[b, None].astype(np.float32)])
        for name, own in known.items():
            state._context[name] = np.append(state._context.get(name, NOTHING)[first:], np.int64(own[b]))
        fresh = state.window_length if full or state._memory is None else 1
        groups.setdefault(fresh, []).append(state)
    for fresh, alike in groups.items():
        for state, embedding in zip(alike, _advance(alike, fresh), strict=True):
            state.embedding = embedding.copy()
    return np.stack([state.embedding for state in states]) if states else np.zeros((0, vectors.shape[1]), np.float32)


def _advance(states: Sequence[SessionState], fresh: int) -> FloatArray:
    """(B, D) embeddings after the last `fresh` events of each window; all earlier ones are remembered."""
    model = states[0].model
    lengths = np.array([state.window_length for state in states])
    known = [[state._context.get(name) for name in CONTEXT] for state in states]
    memories = [state._memory for state in states if state._memory is not None]
    if not memories:  # nothing is remembered: full passes
        table, ends = np.concatenate([state._vectors for state in states]), np.cumsum(lengths)
        rows = np.split(np.arange(len(table)), ends[:-1])
        return model.session_vectors(table, [History(own, *told) for own, told in zip(rows, known, strict=True)])
    device, size = model.ids.weight.device, int(lengths.max())
    places = torch.from_numpy(lengths[:, None] - fresh + np.arange(fresh)).to(device)  # (B, T)
    x = torch.from_numpy(np.stack([state._vectors[-fresh:] for state in states])).to(device)  # (B, T, D)
    memories = [own[..., :size, :] for own in memories]
    # One session's memory is written in place; those of several are brought together, and what is new is taken back.
    memory = memories[0].unsqueeze(2) if len(memories) == 1 else torch.stack(memories, dim=2)
    context: list[Tensor | None] = []
    for told in zip(*known, strict=True):  # (B, S) times, then types, with zeros after a window's end
        padded = [np.pad(own, (0, size - len(own))) for own in told if own is not None]
        context.append(torch.from_numpy(np.stack(padded)).to(device) if padded else None)
    hidden = model.transformer.eval().advance(x, places, memory, EventContext(*context))  # (B, T, D)
    for b, own in enumerate(memories if len(memories) > 1 else ()):
        own[..., places[b], :] = memory[:, :, b][..., places[b], :]
    out: FloatArray = hidden[:, -1].cpu().numpy()
    return out


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
