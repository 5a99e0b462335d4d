"""What an index is asked in earnest: sessions of the category's own shoppers, and what it then finds and takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..catalog.sequences import History, Sequences
from ..errors import CorruptArtifactError, NotFoundError
from ..results import Record
from ..retrieval.measurement import BY_COST, IndexRequest, Measurement, Sample, choose, try_kind
from .index_loading import index_of, load_index
from .models import prepare

if TYPE_CHECKING:
    from ..arrays import FloatArray, IntArray
    from ..retrieval.base import ItemIndex
    from ..retrieval.measurement import Trial
    from ..spokes.spoke import Spoke
    from .context import Context
    from .datasets import Dataset

# Sessions, or items where there are none, that an index is measured with, and events of each that are read.
SAMPLED = 200
LAST_EVENTS = 50


@dataclass(frozen=True)
class Asked:
    """Questions with their exact answers, and what they were drawn from: `sessions`, or `items` without any."""

    sample: Sample
    drawn_from: str


@dataclass(frozen=True)
class IndexBench(Record):
    """Every kind over the vectors of one index, the cheapest first: measured, and what it misses of the targets."""

    ref: str
    items: str  # item snapshot
    n_items: int
    drawn_from: str  # what the questions are: `sessions` or `items`
    chosen: str | None  # kind that `auto` would take
    kinds: Sequence[Mapping[str, Any]]  # as `Measurement`, with `missed`


def ask(context: Context, spoke: Spoke, dataset: Dataset, item_ids: Sequence[str], vectors: FloatArray) -> Asked:
    """Questions to an index of the (N, D) vectors of some items of a catalog: its newest sessions.

    Without sessions that can be read every question is the session of one item.
    """
    histories, drawn_from = newest_histories(context, dataset, item_ids)
    return Asked(Sample.of(vectors, embed_histories(spoke.embed_sessions, vectors, histories)), drawn_from)


def newest_histories(context: Context, dataset: Dataset, item_ids: Sequence[str]) -> tuple[list[History], str]:
    """The last events of the newest sessions, as rows of the items, and what they were drawn from (see `Asked`)."""
    row_of = {item: row for row, item in enumerate(item_ids)}
    rows = np.array([row_of.get(item, -1) for item in dataset.items["item_id"]], dtype=np.int64)
    histories = [History(rows[own.items][rows[own.items] >= 0]) for own in _newest(_sessions(context, dataset))]
    histories = [own for own in histories if len(own)]
    if histories:
        return histories, "sessions"
    some = np.linspace(0, len(item_ids) - 1, min(SAMPLED, len(item_ids))).astype(np.int64)
    return [History(row[None]) for row in some], "items"


def embed_histories(
    embed: Callable[[FloatArray, Sequence[History]], FloatArray], vectors: FloatArray, histories: Sequence[History]
) -> FloatArray:
    """(B, D) session vectors; `embed` is given the vectors of these sessions alone."""
    met: IntArray = np.unique(np.concatenate([own.items for own in histories])) if histories else np.zeros(0, np.int64)
    own = [History(np.searchsorted(met, history.items)) for history in histories]
    return embed(np.ascontiguousarray(vectors[met]), own)


def _sessions(context: Context, dataset: Dataset) -> Sequences:
    """The category's sessions, or a part of them where they are not to be held in memory."""
    from ..spokes.config import TrainingConfig
    from .datasets import load_dataset

    name, items = dataset.domain.name, dataset.item_snapshot.ref
    try:
        full = load_dataset(context, name, items=items, streaming=TrainingConfig())
    except (CorruptArtifactError, NotFoundError) as error:  # an index can be built without events
        context.progress.note(f"The index is measured without sessions: {error}")
        return dataset.sequences
    return full.sequences if full.stream is None or not full.stream.n_shards else full.stream.shard(0)


def _newest(sequences: Sequences) -> list[History]:
    """The last events of the sessions that ended last, the newest first."""
    if not len(sequences):
        return []
    ends = sequences.timestamps[sequences.offsets[1:] - 1]
    newest = np.argsort(-ends, kind="stable")[:SAMPLED]
    return [sequences.history(int(s))[-LAST_EVENTS:] for s in newest]


def build_chosen(flat: ItemIndex, asked: Asked, request: IndexRequest) -> tuple[ItemIndex, dict[str, Any]]:
    """The index that was asked for over the vectors of a flat one, and what is kept of the choice.

    QualityGateError where the targets are not met.
    """
    chosen, tried = choose(request, flat, asked.sample)
    why = "; ".join(trial.words for trial in [chosen, *(trial for trial in tried if trial is not chosen)])
    return chosen.index, described(chosen.index, chosen.measurement, asked, request.settled(len(flat)), why)


def described(
    index: ItemIndex, found: Measurement, asked: Asked, request: IndexRequest, why: str | None
) -> dict[str, Any]:
    """What the registry keeps of an index that was just trained."""
    state = dict(index.index.state)
    return {
        "requested": request.model_dump(),
        "why": why,
        **index.index.settings,
        "state": state,
        "trained": {"n_items": len(index), **state},
        "measured": {**asdict(found), "questions": asked.drawn_from},
    }


def bench(context: Context, ref: str, request: IndexRequest) -> IndexBench:
    """Build and measure every kind over the vectors of an index; nothing is stored."""
    from ..retrieval.base import ItemIndex
    from .datasets import load_dataset

    prepare(context)
    loaded = load_index(context, index_of(context, ref))
    record, vectors, ids = loaded.record, loaded.index.vectors(), loaded.index.item_ids
    dataset = load_dataset(context, record.domain, items=record.items, with_events=False)
    flat = ItemIndex.build(vectors, ids, record.space_fingerprint)
    asked = ask(context, loaded.spoke, dataset, ids, flat.vectors())
    wanted = request.model_copy(update={"kind": "auto"}).settled(len(flat))
    trials = [try_kind(kind, flat, asked.sample, wanted) for kind in BY_COST]
    chosen = next((trial.measurement.kind for trial in trials if not trial.missed), None)
    return IndexBench(record.ref, record.items, len(flat), asked.drawn_from, chosen, [_row(trial) for trial in trials])


def _row(trial: Trial) -> dict[str, Any]:
    return {**asdict(trial.measurement), "missed": list(trial.missed)}
