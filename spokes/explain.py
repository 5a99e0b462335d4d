"""Why a spoke scores an item as it does: the score taken apart, exactly, by part, event and modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch

from ..arrays import AnyFloatArray, DoubleArray, FloatArray, IntArray
from ..catalog.sequences import History
from ..errors import UsageError
from ..hub.fusion import EncodedItems
from .config import MODALITIES
from .mixture import MixtureWeights
from .model import ItemInputs
from .repeats import REPEAT_EVENTS, given_to
from .spoke import Spoke
from .training.batches import serving_batch, with_context
from .transformer import EventContext


@dataclass(frozen=True)
class ScoreParts:
    """The scores of K items after a session of T events, taken apart: `behaviour`, `cold`, `trend`, `text`, `image`.

    `repeat`, for having been taken before, is a part where the mixture has a weight for it.
    """

    # Sums of hundreds of float32 products lose their last digits: what is said to add up is added in double precision.
    query: FloatArray  # (D,) the session vector
    parts: Mapping[str, DoubleArray]  # (K,) by part; they sum to the score
    average: Mapping[str, float]  # by part, over the catalog: what a part gives to every item explains no ranking
    events: Mapping[str, DoubleArray]  # (K, T) by part, what it loses without each event (leave-one-out)
    average_events: DoubleArray  # (T,) what the average item of the catalog loses without each event
    content_events: Mapping[str, DoubleArray]  # (K, T) by modality, each event's term of the sum that its part is

    @property
    def scores(self) -> DoubleArray:
        """(K,) what the list is ranked by."""
        total: DoubleArray = np.sum([*self.parts.values()], axis=0)
        return total

    @property
    def event_contributions(self) -> DoubleArray:
        """(K, T) what the score loses without each event."""
        total: DoubleArray = np.sum([*self.events.values()], axis=0)
        return total


def explain_scores(
    spoke: Spoke, item_vectors: FloatArray, history: IntArray | History, rows: IntArray, *, exclude_seen: bool = False
) -> ScoreParts:
    """Take the scores of K items, at `rows` of the (N, D) item vectors, after a session of T rows apart."""
    if not len(history):
        raise UsageError("An empty session has nothing to explain by; name at least one item that was looked at.")
    weights, columns = spoke.mixture.weights(exclude_seen), _columns(spoke)
    # One event more than counts: it moves in where a later one is taken out.
    looked_back = weights.looks_back
    if spoke.behaviour is not None:
        looked_back = max(looked_back, spoke.behaviour.model.max_length)
    tail = history[-looked_back - 1 :]
    shorter = [tail[np.delete(np.arange(len(tail)), place)] for place in range(len(tail))]
    queries = spoke.embed_sessions(item_vectors, [tail, *shorter], exclude_seen=exclude_seen)  # (T' + 1, D)
    lost: DoubleArray = queries[:1].astype(np.float64) - queries[1:]
    lost = np.pad(lost, ((len(history) - len(tail), 0), (0, 0)))  # (T, D)
    # By itself, as it is served: in a batch its last digits may differ.
    query = spoke.embed_sessions(item_vectors, [history], exclude_seen=exclude_seen)[0]
    mean = item_vectors.mean(axis=0, dtype=np.float64)
    average = {name: float(query[own].astype(np.float64) @ mean[own]) for name, own in columns.items()}
    parts, events = _products(columns, item_vectors[rows], query), _products(columns, item_vectors[rows], lost)
    average_events = lost @ mean
    if repeat := _repeats(spoke, len(item_vectors), history, rows, exclude_seen):
        parts["repeat"], average["repeat"], events["repeat"] = repeat.items, repeat.average, repeat.events
        average_events = average_events + repeat.average_events
    return ScoreParts(
        query=query,
        parts=parts,
        average=average,
        events=events,
        average_events=average_events,
        content_events=_content_terms(spoke, weights, item_vectors, np.asarray(history), rows),
    )


@dataclass(frozen=True)
class _Repeats:
    """What having been taken before gives: K items, the average item, and both without each of T events."""

    items: DoubleArray  # (K,)
    average: float
    events: DoubleArray  # (K, T) what is lost without each
    average_events: DoubleArray  # (T,)


def _repeats(
    spoke: Spoke, n_items: int, history: IntArray | History, rows: IntArray, exclude_seen: bool
) -> _Repeats | None:
    """None where it has no weight. An event that lies too far back to count takes nothing away."""
    if not spoke.mixture.weights(exclude_seen).repeat:
        return None
    tail = history[-REPEAT_EVENTS - 1 :]  # one more than counts: it moves in where a later one is taken out
    shorter = [tail[np.delete(np.arange(len(tail)), place)] for place in range(len(tail))]
    found, means = np.zeros((1 + len(tail), len(rows))), np.zeros(1 + len(tail))
    for nth, known in enumerate([tail, *shorter]):
        lifted = spoke.mixture.lifted(known, exclude_seen)
        found[nth] = given_to(rows, lifted)
        means[nth] = lifted[1].sum(dtype=np.float64) / n_items
    before = len(history) - len(tail)
    lost = np.pad(found[0][:, None] - found[1:].T, ((0, 0), (before, 0)))
    return _Repeats(found[0], float(means[0]), lost, np.pad(means[0] - means[1:], (before, 0)))


def _columns(spoke: Spoke) -> dict[str, slice]:
    """The columns of an item vector by part; a part without columns is left out."""
    split, flag = spoke.behaviour_dimension, spoke.width
    own = {"behaviour": slice(0, flag), "cold": slice(flag, flag + 1), "trend": slice(flag + 1, split)} if split else {}
    middle = split + spoke.space.text_rank
    words = middle - int(spoke.space.crowding is not None)  # crowding stands last of what text decides
    content = {"text": slice(split, words), "crowding": slice(words, middle), "image": slice(middle, spoke.dimension)}
    named = {**own, **content}
    return {name: columns for name, columns in named.items() if columns.stop > columns.start}


def _content_terms(
    spoke: Spoke, weights: MixtureWeights, item_vectors: FloatArray, history: IntArray, rows: IntArray
) -> dict[str, DoubleArray]:
    """(K, T) by modality: the terms of the content score, one per event, in closed form.

    The content query is a sum over the last events, divided by its length, so that the score of an item is one of the
    inner products with these terms, each modality by its weight.
    """
    start = spoke.behaviour_dimension
    terms = weights.reader(spoke.space).terms(item_vectors[:, start:], history)  # (T, R)
    terms = terms * (weights.content * spoke.space.modality_weights(weights.image_share))
    terms = np.pad(terms, ((0, 0), (start, 0)))  # (T, D)
    content: dict[str, slice] = {name: own for name, own in _columns(spoke).items() if name in MODALITIES}
    return _products(content, item_vectors[rows], terms)


@torch.inference_mode()
def behaviour_parts(spoke: Spoke, query: FloatArray, inputs: ItemInputs) -> dict[str, DoubleArray]:
    """(K,) `<h, part>` by additive part of the behavioural vectors of K items, for the (D,) session vector."""
    if spoke.behaviour is None:
        return {}
    own = query[: spoke.width].astype(np.float64)
    model = spoke.behaviour.model.eval()
    return {name: part.cpu().numpy().astype(np.float64) @ own for name, part in model.item_parts(inputs).items()}


def scores_without(
    spoke: Spoke, query: FloatArray, item_ids: Sequence[str], encoded: EncodedItems, items: pl.DataFrame | None = None
) -> dict[str, DoubleArray]:
    """(K,) by modality of the catalog: what the items would score had they no text, or no picture; attributes stay."""
    # Embedded again without it, so that what the fusion and the behavioural part made of it is gone too.
    return {
        name: spoke.embed_items(item_ids, encoded.without(name), items).astype(np.float64) @ query.astype(np.float64)
        for name in MODALITIES
        if name in _columns(spoke)
    }


def signed_shares(values: DoubleArray) -> DoubleArray:
    """Shares along the last axis that keep their sign and whose absolute values sum to one; zero where all is zero."""
    whole = np.abs(values).sum(axis=-1, keepdims=True)
    shares: DoubleArray = np.divide(values, whole, out=np.zeros_like(values), where=whole > 0)
    return shares


@torch.inference_mode()
def last_attention(spoke: Spoke, item_vectors: FloatArray, history: IntArray | History) -> FloatArray | None:
    """(L, H, T) attention to the T events by block and head, where the session is read; None where nothing attends.

    In BERT4Rec that is the mask token after the last event: what is missing to one, a head gives to the token itself.
    """
    if spoke.behaviour is None or not len(history):
        return None
    model = spoke.behaviour.model
    known = with_context([history], model.transformer.config.needs_context)
    batch = serving_batch(known, model.max_length, cloze=model.cloze)
    device = model.ids.weight.device
    x = torch.from_numpy(item_vectors[batch.rows, : spoke.width]).to(device)  # (T', D)
    if model.mask is not None:
        x[-1] = model.mask
    n_events = len(x) - model.cloze
    told = (batch.timestamps, batch.event_types)
    context = EventContext(*(None if own is None else torch.from_numpy(own).to(device) for own in told))
    _, weights = model.transformer.eval().attention_weights(x[None], context=context)
    last = weights[:, 0, :, -1, :n_events].float().cpu().numpy()
    return np.pad(last, ((0, 0), (0, 0), (len(history) - n_events, 0)))


def _products(columns: Mapping[str, slice], vectors: FloatArray, queries: AnyFloatArray) -> dict[str, DoubleArray]:
    """Inner products of (K, D) with (D,) or (T, D), part by part: (K,) or (K, T)."""
    left, right = vectors.astype(np.float64), queries.astype(np.float64)
    return {name: left[:, own] @ right[..., own].T for name, own in columns.items()}
