"""What is assessed: the item vectors behind a reference, the columns that each part of them has, and the catalog."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...arrays import FloatArray, IntArray
from ...catalog.sequences import History
from ...errors import NotFoundError, UsageError
from ...registry.kinds import ModelKind
from ...registry.records import IndexRecord, ModelRecord
from ..index_measurement import embed_histories, newest_histories
from ..loading import over_catalog, ready_model
from ..served_index import open_index
from ..targets import newest_index

if TYPE_CHECKING:
    from ...retrieval.base import ItemIndex
    from ...spokes.sessions import SessionSide
    from ..context import Context
    from ..datasets import Dataset

# Items that one version recommends.
LIST = 10


@dataclass(frozen=True)
class Named:
    """What a reference names for an assessment."""

    ref: str  # what numbers are recorded of: a spoke, a hub or an index
    domain: str
    model: ModelRecord  # what embeds
    index: IndexRecord | None  # the index that answers for it, None where it has none
    serves: str  # what is evaluated downstream: a re-ranker, a spoke or a hub


@dataclass(frozen=True)
class Subject:
    """A version over its catalog."""

    named: Named
    dataset: Dataset
    rows: IntArray  # (N,) row of each item in the dataset
    item_ids: Sequence[str]
    vectors: FloatArray  # (N, D)
    sessions: SessionSide
    index: ItemIndex | None
    first_list_seconds: float | None = None  # from the stored files to a list; None without an index

    def embed(self, histories: Sequence[History]) -> FloatArray:
        """(B, D) session vectors of histories of rows of the vectors."""
        return embed_histories(self.sessions.embed, self.vectors, histories)

    def answer(self, history: History) -> None:
        """One session embedded and its ten items found, as the service does it."""
        if self.index is not None:
            self.index.search(self.embed([history]), LIST)

    def blocks(self) -> dict[str, FloatArray]:
        """The parts of the item vectors by name, `all` first; what says nothing of what an item is belongs to none.

        `all` is behaviour beside content, without the cold flag, the trend and crowding. A launch floor is content.
        """
        side, space = self.sessions, self.sessions.space
        content = self.vectors[:, side.behaviour_dimension :]
        behaviour, alike = self.vectors[:, : side.width], space.alike(content)
        picture = space.columns.get("image", slice(0, 0))
        text = [part for name, part in space.columns.items() if name not in ("image", "crowding")]
        found = {
            "all": np.concatenate([behaviour, alike], axis=1),
            "behaviour": behaviour,
            "content": alike if side.width else alike[:, :0],
            "text": np.concatenate([content[:, part] for part in text] or [content[:, :0]], axis=1),
            "image": content[:, picture],
        }
        return {name: own for name, own in found.items() if own.shape[1]}


def find_named(context: Context, ref: str, domain: str | None = None) -> Named:
    """What a reference stands for; a hub serves any category, so it takes the name of one."""
    registry = context.registry
    node = registry.resolve(ref)
    if node.kind == "release":
        release = registry.releases.get(node.ref)
        model, index = registry.models.get(release.spoke or release.hub), registry.indexes.get(release.index)
        named = Named(model.ref, release.domain, model, index, release.reranker or model.ref)
    elif node.kind == "index":
        index = registry.indexes.get(node.ref)
        named = Named(index.ref, index.domain, registry.models.get(index.model), index, index.model)
    elif node.kind in (ModelKind.SPOKE, ModelKind.HUB):
        model = ready_model(context, node.ref, ModelKind(node.kind))
        if model.kind == ModelKind.HUB and domain is None:
            raise UsageError(f"{ref} is a hub and serves any category; name one with --domain NAME.")
        name = str(model.domain or domain)
        registry.domains.get(name)
        named = Named(model.ref, name, model, _index_of(context, model.ref, name), model.ref)
    else:
        raise UsageError(f"{ref} is a {node.kind} and has no space of its own; name a spoke, hub, index or category.")
    if domain not in (None, named.domain):
        raise UsageError(f"{ref} serves {named.domain}, not {domain}; leave --domain out.")
    return named


def _index_of(context: Context, model: str, domain: str) -> IndexRecord | None:
    """The index version over a category that a model filled last."""
    if context.registry.models.get(model).kind == ModelKind.SPOKE:
        try:
            return newest_index(context.registry, model)
        except NotFoundError:
            return None
    filled = [index for index in context.registry.indexes.list(domain) if index.model == model]
    return filled[-1] if filled else None


def load_subject(context: Context, named: Named, events: str | None = None) -> Subject:
    """The vectors of the index that answers, or, where there is none, of the newest catalog embedded anew."""
    from ..datasets import load_dataset

    if named.index is None:
        dataset = load_dataset(context, named.domain, events=events)
        spoke, encoded = over_catalog(context, named.model, dataset)
        ids = dataset.items["item_id"].to_list()
        vectors = spoke.embed_items(ids, encoded, dataset.items)
        return Subject(named, dataset, np.arange(len(ids)), ids, vectors, spoke.sessions, None)
    dataset = load_dataset(context, named.domain, items=named.index.items, events=events)
    started = time.perf_counter()
    opened = open_index(context, named.index)
    seconds = time.perf_counter() - started
    vectors, own = opened.index.vectors(), opened.index.item_ids
    row_of = {item: row for row, item in enumerate(dataset.items["item_id"])}
    rows = np.array([row_of[item] for item in own], dtype=np.int64)
    found = Subject(named, dataset, rows, own, vectors, opened.sessions, opened.index)
    histories, _ = newest_histories(context, dataset, own)
    started = time.perf_counter()
    found.answer(histories[0])
    return replace(found, first_list_seconds=seconds + time.perf_counter() - started)
