"""Which established categories a category is like: in language, looks, attributes, behaviour and shoppers.

What can be inherited is a question of likeness, part by part. A category without events is compared by its catalog.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from ..arrays import DoubleArray, FloatArray
from ..errors import HubspokeError
from ..results import Record
from .hubs import Hubs
from .loading import encode_items, load_hub
from .models import prepare

if TYPE_CHECKING:
    from ..catalog.likeness import CatalogProfile, Shopping
    from ..catalog.sequences import Sequences
    from ..hub.model import Hub
    from ..registry.records import SnapshotRecord
    from .context import Context
    from .datasets import Dataset

COLUMNS = ("language", "vision", "attributes", "behaviour", "shoppers")
# Steps from one item of a session to the next by which it is told how far content explains them.
STEPS = 1000


@dataclass(frozen=True)
class SimilarDomain(Record):
    """One established category and how alike it is; None where there is nothing to compare, never 0.

    `rank` is the mean of its places in the columns that know it, `attribute_parts` and `behaviour_parts` what these two
    columns are the means of; docs/transfer.md defines every number, and so do the functions of `catalog.likeness`.
    """

    domain: str
    rank: float | None
    language: float | None
    vision: float | None
    attributes: float | None
    behaviour: float | None
    shoppers: float | None
    attribute_parts: Mapping[str, float | None]
    behaviour_parts: Mapping[str, float | None]


@dataclass(frozen=True)
class SimilarDomains(Record):
    """The established categories, most similar first, and what the category was compared by."""

    domain: str
    hub: str  # whose encoders were asked
    items: str
    events: str | None
    similar: tuple[SimilarDomain, ...]


@dataclass(frozen=True)
class _Profile:
    """What is compared of a category."""

    items: str  # snapshot
    events: str | None
    text: DoubleArray  # (Dt,) mean of the text encoder's vectors, zero where no item has text
    image: DoubleArray  # (Dv,) likewise of pictures
    catalog: CatalogProfile
    shopping: Shopping | None
    shoppers: frozenset[str]


def similar_domains(context: Context, domain: str) -> SimilarDomains:
    """Rank the active categories by their likeness to one of them, by their newest snapshots.

    Equal values of a column share the mean of their places; of equal mean places the more alike in language comes
    first, then the name. A category that cannot be read is told and passed over.
    """
    from ..catalog.likeness import mean_ranks

    prepare(context)
    hub, record = load_hub(context, Hubs(context).ensure())
    own = _profile(context, hub, domain)
    found = []
    others = [other.name for other in context.registry.domains.list() if other.counts.item_snapshots]
    for name in others:
        if name == domain:
            continue
        try:
            found.append(_compared(name, own, _profile(context, hub, name)))
        except HubspokeError as error:
            context.progress.note(f"{name} cannot be compared: {error}")
    ranks = mean_ranks([[getattr(other, column) for other in found] for column in COLUMNS])
    ranked = [SimilarDomain(**{**vars(other), "rank": rank}) for other, rank in zip(found, ranks, strict=True)]
    return SimilarDomains(domain, record.ref, own.items, own.events, tuple(sorted(ranked, key=_order)))


def _order(found: SimilarDomain) -> tuple[float, float, str]:
    last = float("inf")
    language = last if found.language is None else -found.language
    return (last if found.rank is None else found.rank), language, found.domain


def _compared(name: str, own: _Profile, other: _Profile) -> SimilarDomain:
    from ..catalog.likeness import attribute_likeness, content_likeness, known_share, mean_known, shopping_likeness

    attributes = asdict(attribute_likeness(own.catalog, other.catalog))
    behaviour: dict[str, float | None] = {}
    if own.shopping and other.shopping:
        behaviour = shopping_likeness(own.shopping, other.shopping)
    return SimilarDomain(
        domain=name,
        rank=None,
        language=content_likeness(own.text, other.text),
        vision=content_likeness(own.image, other.image),
        attributes=mean_known([*attributes.values()]),
        behaviour=mean_known([*behaviour.values()]),
        shoppers=known_share(own.shoppers, other.shoppers),
        attribute_parts=attributes,
        behaviour_parts=behaviour,
    )


def _profile(context: Context, hub: Hub, domain: str) -> _Profile:
    from ..catalog.likeness import profile_catalog
    from ..hub.content import fit_content_space
    from .datasets import load_dataset

    dataset = load_dataset(context, domain)
    encoded = encode_items(context, hub, dataset)
    shopping, shoppers = None, frozenset[str]()
    if dataset.event_snapshot is not None:
        fused = hub.fusion.fuse(encoded)
        space = fit_content_space(fused, hub.config)
        shopping = _shopping(dataset, space.alike(space.embed(fused)))
        shoppers = _shoppers(context, dataset.event_snapshot)
    return _Profile(
        items=dataset.item_snapshot.ref,
        events=dataset.event_snapshot.ref if dataset.event_snapshot else None,
        text=_mean(encoded.text[encoded.has_text]),
        image=_mean(encoded.image[encoded.has_image]),
        catalog=profile_catalog(dataset.items),
        shopping=shopping,
        shoppers=shoppers,
    )


def _shopping(dataset: Dataset, content: FloatArray) -> Shopping | None:
    """How a category is shopped, None without sessions; content (N, R) is what its items are alike by."""
    from ..catalog.likeness import Shopping, gini
    from ..spokes.training.validation import repeat_share

    sequences = dataset.sequences
    if not sequences.n_events:
        return None
    return Shopping(
        session_length=float(sequences.lengths.mean()),
        repeats=repeat_share(sequences),
        skew=gini(sequences.item_counts()),
        content=next_by_content(sequences, content),
    )


def next_by_content(sequences: Sequences, content: FloatArray) -> float | None:
    """Mean share of a catalog that is less like an item, by content (N, R), than what was taken next; ties count half.

    Over steps to another item, `STEPS` of them at equal distances at most. 0.5 is chance.
    """
    from ..catalog.sequences import co_engaged_pairs

    pairs = co_engaged_pairs(sequences, 1)  # (P, 2)
    if not len(pairs) or not content.shape[1]:
        return None
    left, right = pairs[np.unique(np.linspace(0, len(pairs) - 1, STEPS).astype(np.int64))].T
    alike = content[left] @ content.T  # (P, N)
    alike[np.arange(len(left)), left] = np.nan  # the item itself is no candidate
    reached = np.take_along_axis(alike, right[:, None], axis=1)
    below, level = (alike < reached).sum(axis=1), (alike == reached).sum(axis=1) - 1
    return float(((below + level / 2) / max(1, content.shape[0] - 2)).mean())


def _shoppers(context: Context, events: SnapshotRecord) -> frozenset[str]:
    from ..catalog.snapshots import DATA_FILE
    from .datasets import table_folder

    table = pl.scan_parquet(table_folder(context, events) / DATA_FILE, glob=False)
    return frozenset(table.select(pl.col("user_id").unique()).collect()["user_id"].to_list())


def _mean(vectors: FloatArray) -> DoubleArray:
    """(D,) mean of (N, D) vectors, zero where there are none."""
    return vectors.mean(axis=0, dtype=np.float64) if len(vectors) else np.zeros(vectors.shape[1])
