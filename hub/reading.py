"""How content reads a session: what each of the last events weighs in each block of the content space.

A reading makes one vector of a session, so that its score of an item stays an inner product. Either an event weighs a
fixed share of the one after it (`fading`), or what each weighs was learned on other categories (`Reading`), told in
units that every catalog has: standard deviations of the similarity of two of its items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..arrays import DoubleArray, FloatArray, IntArray
from ..catalog.sequences import Histories, History
from .calibration import unit_rows
from .config import DEFAULT_TEXT, WORDS, Config, HubConfig
from .content import ContentSpace

CROWDING = "crowding"
# What a further text block weighs beside the first where learning starts.
FURTHER = 2 / 3


class Reading(Config):
    """A reading that was learned; JSON beside a hub's weights, and in the mixture of a spoke that uses it."""

    lags: Mapping[str, tuple[float, ...]]  # by block, what the newest event weighs, then the one before it, and so on
    crowding: float = 0.0  # added per unit of crowding

    def on(self, space: ContentSpace) -> SessionReader:
        """The reading of sessions over one catalog, whose units are its own."""
        lags = {
            name: np.array(weights, np.float32) / np.float32(space.spreads[name])
            for name, weights in self.lags.items()
            if name in space.columns
        }
        return SessionReader(space, lags, self.crowding)

    @property
    def events(self) -> int:
        """Events that it looks back on."""
        return max((len(weights) for weights in self.lags.values()), default=1)

    def towards(self, other: Reading, share: float) -> Reading:
        """This reading with `share` of the way to another one over the same blocks."""
        lags = {
            name: tuple((1 - share) * a + share * b for a, b in zip(own, other.lags[name], strict=True))
            for name, own in self.lags.items()
        }
        return Reading(lags=lags, crowding=(1 - share) * self.crowding + share * other.crowding)


def packaged_reading(config: HubConfig) -> Reading | None:
    """The reading that comes with the package; None beside other blocks than it was learned on, or where it is off."""
    same_blocks = config.text is not None and config.text.name == DEFAULT_TEXT
    same_blocks &= config.text_blocks == (WORDS,) and config.crowding
    return PACKAGED if same_blocks and config.reading.packaged else None


def starting_reading(config: HubConfig) -> Reading:
    """Where learning starts: the reading of the package, else the fixed recency on all blocks."""
    return packaged_reading(config) or _faded(config)


def reading_of_seen(config: HubConfig) -> Reading | None:
    """How a session is read for a list that may show its items again; None for the fixed recency on one text block.

    What is learned is about items that are new to a shopper. Who takes the same again is told by a longer memory.
    """
    return _faded(config) if config.text_blocks else None


def _faded(config: HubConfig) -> Reading:
    scale, faded = config.reading.scale / 5, config.recency_decay ** np.arange(config.recent_events)
    shares = {"text": 1.0, "image": 1.0, **{block.name: FURTHER for block in config.text_blocks}}
    return Reading(lags={name: tuple((scale * share * faded).tolist()) for name, share in shares.items()})


def fading(space: ContentSpace, decay: float, events: int) -> SessionReader:
    """The reading in which an event weighs `decay` times the next; of further blocks and crowding it knows nothing."""
    lags = (decay ** np.arange(events)).astype(np.float32)
    return SessionReader(space, {name: lags for name in ("text", "image") if name in space.columns})


# Learned on catalogs of several trades beside the default encoders; docs/benchmarks.md says on which, and what it is
# worth on each of them when it is learned on the others.
PACKAGED = Reading(
    lags={
        "text": (0.97, 0.46, 0.29, 0.23, 0.15),
        "words": (0.66, 0.35, 0.19, 0.1, 0.13),
        "image": (0.59, 0.45, 0.31, 0.2, 0.14),
    },
    crowding=-0.18,
)


@dataclass(frozen=True)
class SessionReader:
    """Weights of events and of crowding over one content space."""

    space: ContentSpace
    lags: Mapping[str, FloatArray]  # by block of the space, (H,) weights of the last events, the newest first
    crowding: float = 0.0

    def read(self, embeddings: FloatArray, histories: Histories) -> FloatArray:
        """(B, R) of sessions (rows of the (N, R) embeddings, oldest first): unit vectors but for the crowding."""
        found = np.zeros((len(histories), embeddings.shape[1]), np.float32)
        if len(embeddings) == 0:
            return found
        for name, weights in self.lags.items():
            rows, known = last_rows(histories, len(weights))  # (B, H) each
            columns = self.space.columns[name]
            found[:, columns] = np.einsum("bh,bhr->br", known * weights, embeddings[rows, columns])
        lengths = np.linalg.norm(found, axis=1)
        found = unit_rows(found)
        if self.crowding and CROWDING in self.space.columns:
            # In the same unit as the rest, which was scaled to one.
            found[:, self.space.columns[CROWDING].start] = np.divide(
                self.crowding, lengths, out=np.zeros_like(lengths), where=lengths > 1e-6
            )
        return found

    def terms(self, embeddings: FloatArray, history: IntArray | History) -> DoubleArray:
        """(T, R) what each event of a session adds to its vector, oldest first; crowding is no event's."""
        rows = np.asarray(history, dtype=np.int64)
        found = np.zeros((len(rows), embeddings.shape[1]), np.float64)
        for name, weights in self.lags.items():
            recent, columns = rows[::-1][: len(weights)], self.space.columns[name]
            own = weights[: len(recent), None].astype(np.float64) * embeddings[recent, columns]
            found[len(rows) - len(recent) :, columns] = own[::-1]
        terms: DoubleArray = found / (float(np.linalg.norm(found.sum(axis=0))) or 1.0)
        return terms


def recency_weighted(embeddings: FloatArray, histories: Histories, decay: float, events: int) -> FloatArray:
    """(B, R) unit vectors of sessions (rows of items, oldest first): an event weighs `decay` times the next."""
    if len(embeddings) == 0:
        return np.zeros((len(histories), embeddings.shape[1]), np.float32)
    rows, known = last_rows(histories, events)
    faded = (known * decay ** np.arange(events)).astype(np.float32)
    return unit_rows(np.einsum("be,ber->br", faded, embeddings[rows]))


def last_rows(histories: Histories, events: int) -> tuple[IntArray, FloatArray]:
    """(B, H) rows of the last events of each session, the newest first, and one where there is such an event."""
    rows = np.zeros((len(histories), events), np.int64)
    known = np.zeros((len(histories), events), np.float32)
    for b, history in enumerate(histories):
        recent = np.asarray(history)[-events:][::-1]
        rows[b, : len(recent)] = recent
        known[b, : len(recent)] = 1.0
    return rows, known
