"""Trainings that go on from an earlier version: what it has seen, what is new to it, and how far it has been moved.

Promise: no version that has seen an event which a split tests on is gone on from, and no version is chosen on an event
that an ancestor of it was trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from ..arrays import BoolArray, FloatArray
from ..errors import InvalidDataError, NotFoundError, UsageError
from ..registry.kinds import Relation
from ..registry.records import ModelRecord
from ..spokes.training.splits import Split, SplitSettings, split, split_masks
from .datasets import Dataset, load_dataset
from .loading import over_catalog

if TYPE_CHECKING:
    from ..catalog.sequences import Sequences, SequenceSource
    from ..hub.fusion import EncodedItems
    from ..spokes.config import SpokeConfig
    from ..spokes.spoke import Behaviour, Spoke
    from ..spokes.training.validation import Validation
    from ..spokes.training.warm_start import Taken
    from .context import Context

# Length of the lists that two versions' recommendations are compared by.
LIST = 10


@dataclass(frozen=True)
class WarmStart:
    """An earlier version that a training goes on from, held against what the training's split keeps out.

    Attributes:
        record: the version.
        on: `all` events that the split lets it see, or only the `new` ones.
        parts: the split; users whose validation event the version has been trained on are not chosen on.
        lessons: what is trained on, before and after a refit.
        items: ids of the catalog that the version was trained on; none of another domain's, which mean other products.
        new_events: events of the first lesson that the version has not been trained on.
        left_out: users that are not chosen on.
        newest: microseconds UTC of the newest event that it may have seen; None for a version of another domain.
    """

    record: ModelRecord
    on: str
    parts: Split
    lessons: tuple[SequenceSource, SequenceSource]
    items: frozenset[str]
    new_events: int
    left_out: int
    newest: int | None

    @property
    def about(self) -> dict[str, Any]:
        """What its record says of it."""
        return {
            "parent": self.record.ref,
            "on": self.on,
            "events": self.lessons[0].n_events,
            "new_events": self.new_events,
            "validation_left_out": self.left_out,
        }


@dataclass(frozen=True)
class LoadedParent:
    """The version in memory, over the catalog of the training.

    Attributes:
        ref: its name.
        spoke: the version.
        behaviour: its trained part.
        encoded: what its own hub says of the catalog.
        same_domain: it is of the domain that is trained.
    """

    ref: str
    spoke: Spoke
    behaviour: Behaviour
    encoded: EncodedItems
    same_domain: bool


def warm_start(
    context: Context,
    record: ModelRecord,
    on: str,
    dataset: Dataset,
    settings: SplitSettings,
    config: SpokeConfig,
) -> WarmStart:
    """Hold a version against a split, event by event.

    Args:
        context: the workspace.
        record: the version.
        on: `all` or `new`.
        dataset: catalog and events of the training.
        settings: what the training keeps out.
        config: of the training.

    Raises:
        UsageError: the version, or one that it goes back on, has seen what is tested on, or all that is chosen on.
        InvalidDataError: there is nothing new to train on.
    """
    if dataset.stream is not None:
        raise UsageError(
            f"{dataset.stream.n_events:,} events are read in shards, and a parent is held against events in memory; "
            "raise training.stream_above beyond the rows of the event table, or train without a parent."
        )
    sequences = dataset.sequences
    train, refit = split_masks(sequences, settings)
    trained, known = _seen(context, record, dataset)
    _refuse_seen_test(record, known & ~refit, settings.name)
    told = trained & refit & ~train
    users = frozenset(sequences.user_ids[user] for user in np.unique(_users(sequences)[told]))
    parts = split(sequences, settings, config, leave_out=users)
    if not len(parts.validation.users):
        raise UsageError(
            f"{record.ref} has been trained on the event that each of the {len(users)} users of this split would be "
            "validated on; ingest newer events, or go on from a version trained without --refit."
        )
    new = train & ~trained
    lessons: tuple[SequenceSource, SequenceSource] = (parts.train, parts.refit)
    if on == "new":
        reach = config.transformer.max_length
        lessons = (
            _lesson(sequences, train, trained, reach),
            _lesson(sequences, refit, trained, reach),
        )
        if not (lessons[0].length_counts()[0] >= 2).any():
            raise InvalidDataError(
                f"{record.ref} has been trained on all of the {int(train.sum())} events that this split lets it "
                "see, or on all that follow another; ingest newer events, or train with --on all."
            )
    own_domain = record.domain == dataset.domain.name
    return WarmStart(
        record=record,
        on=on,
        parts=parts,
        lessons=lessons,
        items=_items(context, record) if own_domain else frozenset(),
        new_events=int(new.sum()),
        left_out=len(users),
        newest=record.summary.get("training_end") if own_domain else None,
    )


def _refuse_seen_test(record: ModelRecord, seen: BoolArray, split: str) -> None:
    if not seen.any():
        return
    about = record.summary.get("split", {})
    how = f"--split {about.get('name')}{' --refit' if about.get('refit') else ''}"
    raise UsageError(
        f"{record.ref} ({how}), or a version that it goes back on, has seen {int(seen.sum())} of the events that this "
        f"split keeps for the test; go on from one trained with --split {split} on this data, or train with --split "
        "all."
    )


def _lesson(sequences: Sequences, visible: BoolArray, seen: BoolArray, reach: int) -> Sequences:
    """Of the visible sequences those with events that were not seen: from `reach` events before the first on."""
    kept, new = sequences.keep_events(visible), ~seen[visible]
    owner, place = np.repeat(np.arange(len(kept)), kept.lengths), np.arange(len(new))
    first = np.full(len(kept), len(new) + reach)
    np.minimum.at(first, owner[new], place[new])
    return kept.keep_events(place >= first[owner] - reach)


# ---- what a version has seen ----


def _seen(context: Context, record: ModelRecord, dataset: Dataset) -> tuple[BoolArray, BoolArray]:
    """Of a dataset's events those that a version and all that it goes back on were trained on, or chosen on too.

    Told event by event from the snapshots and splits that their records name. A version of another domain has seen
    none.
    """
    events = _keys(dataset)
    trained = np.zeros(events.height, np.bool_)
    known = trained.copy()
    for ancestor in _line(context, record):
        if ancestor.domain == dataset.domain.name:
            own_trained, own_known = _seen_keys(context, ancestor)
            trained |= _among(events, own_trained)
            known |= _among(events, own_known)
    return trained, known


def _line(context: Context, record: ModelRecord) -> Iterator[ModelRecord]:
    """A version, the one that it was trained on from, and so on."""
    edges = [
        edge
        for edge in context.registry.lineage.upstream(record.ref).edges
        if edge.relation == Relation.WARM_STARTED_FROM
    ]
    parents = {edge.child: edge.parent for edge in edges}
    ref: str | None = record.ref
    while ref is not None:
        yield context.registry.models.get(ref)
        ref = parents.get(ref)


def _seen_keys(context: Context, record: ModelRecord) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The events that one version was trained on, and those that it was trained or chosen on."""
    data = _snapshots(context, record)
    dataset = load_dataset(context, str(record.domain), items=data.get("items"), events=data.get("events"))
    keys, about = _keys(dataset), record.summary.get("split", {})
    test_from = about.get("test_from")
    settings = SplitSettings(about.get("name", "all"), datetime.fromisoformat(test_from) if test_from else None)
    train, refit = split_masks(dataset.sequences, settings)
    trained = refit if about.get("refit") else train
    if int(trained.sum()) != record.summary.get("training_events"):
        # Sessions are cut in another way by now: nobody can tell what it saw, so it has seen all there was.
        return keys, keys
    return keys.filter(pl.Series(trained)), keys.filter(pl.Series(refit))


def _snapshots(context: Context, record: ModelRecord) -> dict[str, str]:
    """The snapshots that a version was trained on, by kind."""
    edges = context.registry.lineage.upstream(record.ref).edges
    own = [edge for edge in edges if edge.child == record.ref and edge.relation == Relation.TRAINED_ON and edge.part]
    return {str(edge.part): edge.parent for edge in own}


def _items(context: Context, record: ModelRecord) -> frozenset[str]:
    """Ids of the catalog that a version was trained on."""
    data = _snapshots(context, record)
    if "items" not in data:
        raise NotFoundError(f"{record.ref} records no items that it was trained on; train it again with --force.")
    return frozenset(load_dataset(context, str(record.domain), items=data["items"], with_events=False).items["item_id"])


def _users(sequences: Sequences) -> npt.NDArray[np.int64]:
    return np.repeat(sequences.users, sequences.lengths)


def _keys(dataset: Dataset) -> pl.DataFrame:
    """What tells each event of a dataset from all others, in its order, whatever snapshot it is read from."""
    sequences = dataset.sequences
    events = pl.DataFrame(
        {
            "user": pl.Series(sequences.user_ids, dtype=pl.String).gather(_users(sequences)),
            "item": dataset.items["item_id"].gather(sequences.items),
            "at": sequences.timestamps,
        }
    )
    # Where times are coarse a user may meet an item twice at one moment.
    return events.with_columns(nth=pl.int_range(pl.len()).over("user", "item", "at"))


def _among(events: pl.DataFrame, keys: pl.DataFrame) -> BoolArray:
    """(E,) which events are among the keys."""
    found = events.join(keys.with_columns(found=True), on=events.columns, how="left", maintain_order="left")["found"]
    return np.asarray(found.fill_null(False).to_numpy(), dtype=np.bool_)


# ---- the version in memory, and how far its child has gone ----


def load_parent(context: Context, start: WarmStart, dataset: Dataset) -> LoadedParent:
    """The version on its own hub, with what that says of the catalog.

    Raises:
        UsageError: it has no trained part.
        IncompatibleError: its hub's encoders are not those on this machine.
    """
    ref = start.record.ref
    spoke, encoded = over_catalog(context, start.record, dataset)
    if spoke.behaviour is None:
        raise UsageError(f"{ref} has no behaviour that could be trained on; train without a parent.")
    return LoadedParent(ref, spoke, spoke.behaviour, encoded, start.record.domain == dataset.domain.name)


def take_from(parent: LoadedParent, child: Behaviour, inputs: Any, hub_fingerprint: str, dataset: Dataset) -> Taken:
    """Give a new behavioural part what fits of the parent's; see `spokes.warm_start.take_over`."""
    from ..spokes.training.warm_start import Common, take_over

    ids = dataset.items["item_id"].to_list()
    theirs = parent.behaviour.inputs(ids, parent.encoded, dataset.items)
    common = Common(parent.spoke.hub_fingerprint == hub_fingerprint, parent.same_domain)
    return take_over(child, parent.behaviour, inputs, theirs, common)


def measured_drift(
    parent: LoadedParent, child: Spoke, encoded: EncodedItems, dataset: Dataset, start: WarmStart
) -> dict[str, Any]:
    """How far a version has gone from its parent: item vectors of behaviour, and what is recommended.

    Vectors are compared on the items of both catalogs, lists on the users that the child was chosen on, over its
    catalog, each version with its own mixture.
    """
    from ..spokes.training.warm_start import list_overlap, vector_drift

    ids, checked = dataset.items["item_id"].to_list(), start.parts.validation
    ours = child.embed_items(ids, encoded, dataset.items)
    theirs = parent.spoke.embed_items(ids, parent.encoded, dataset.items)
    common = np.array([item in start.items for item in ids], np.bool_)
    width = child.width
    return {
        "items": int(common.sum()),
        "cosine": vector_drift(ours[common, :width], theirs[common, :width]),
        "users": len(checked.users),
        f"overlap@{LIST}": list_overlap(_shown(child, ours, checked), _shown(parent.spoke, theirs, checked), LIST),
    }


def _shown(spoke: Spoke, vectors: FloatArray, checked: Validation) -> FloatArray:
    """(U, N) scores for the validation users, minus infinity where the policy does not show an item."""
    recommender = spoke.recommender("", vectors, exclude_seen=checked.filter_seen)
    scores: FloatArray = np.array(recommender.score(checked.histories))
    if checked.filter_seen:
        for row, history in enumerate(checked.users.histories):
            scores[row, history.items] = -np.inf
    return scores
