"""What a spoke knows of items beside content and ID: attributes and statistics, fitted on training data and frozen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import polars as pl
import torch
from torch import Tensor, nn

from ...catalog.sequences import Sequences
from ...catalog.streams import SequenceSource, SequenceStream
from ...errors import UsageError
from ..config import SpokeConfig
from .attributes import AttributeEncoder, AttributeRows, Vocabulary, fit_vocabulary
from .statistics import ItemStatistics, StatisticsEncoder, add_counts, count_folds, counted_events, statistics_of

VOCABULARY = "vocabulary.json"


@dataclass(frozen=True)
class FeatureRows:
    """Features of N items as tensors; None where the spoke does not read them."""

    attributes: AttributeRows | None = None  # as the vocabulary encodes them
    statistics: Tensor | None = None  # (N, K + 1) counted over everybody
    by_fold: Tensor | None = None  # (N, F, K + 1) the same without each of F folds of the users; for training


@dataclass(frozen=True)
class ItemFeatures:
    """What was fitted: the vocabulary of attributes, and the statistics of training items."""

    vocabulary: Vocabulary | None = None  # fields of the catalog; None where attributes are not read
    statistics: ItemStatistics | None = None  # of items with training events; None where they are not read

    @property
    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of each, by the name of its encoder."""
        fitted = {"attributes": self.vocabulary, "statistics": self.statistics}
        return {name: own.fingerprint for name, own in fitted.items() if own is not None}

    def encode(self, item_ids: Sequence[str], items: pl.DataFrame | None) -> FeatureRows:
        """Features of any N items; attributes are read from `items`, their rows of the item table in the same order."""
        if self.vocabulary is not None and (items is None or items["item_id"].to_list() != list(item_ids)):
            raise UsageError(
                f"This spoke reads attributes, but the rows of {len(item_ids)} items were not given in their order; "
                "pass the item table along with the ids."
            )
        attributes = self.vocabulary.encode(items) if self.vocabulary is not None and items is not None else None
        if self.statistics is None:
            return FeatureRows(attributes)
        everybody, *folds = (
            torch.from_numpy(own.encode(item_ids)) for own in (self.statistics, *self.statistics.others)
        )
        return FeatureRows(attributes, everybody, torch.stack(folds, dim=1) if folds else None)

    def save(self, directory: Path) -> None:
        """Write what there is, as JSON and safetensors."""
        if self.vocabulary is not None:
            (directory / VOCABULARY).write_text(self.vocabulary.model_dump_json(indent=1), encoding="utf-8")
        if self.statistics is not None:
            self.statistics.save(directory)

    @classmethod
    def load(cls, directory: Path, config: SpokeConfig) -> ItemFeatures:
        """Read what `config` asks for."""
        vocabulary = None
        if config.attributes is not None:
            vocabulary = Vocabulary.model_validate_json((directory / VOCABULARY).read_text(encoding="utf-8"))
        return cls(vocabulary, ItemStatistics.load(directory) if config.statistics is not None else None)


def fit_features(
    config: SpokeConfig,
    items: pl.DataFrame,  # the item table
    seen: SequenceSource,  # that is trained on
    events: Iterable[tuple[pl.DataFrame, Sequences]],  # raw, and what was cut from them, by ranges of users
    *,
    until: int | None = None,  # microseconds UTC of a split in time; nothing from there on counts
    dated: bool = True,  # whether timestamps are times and no mere order
    parent: ItemFeatures | None = None,  # of the version whose weights are trained on
) -> ItemFeatures:
    """What the config asks for, of a catalog and of the events that a training may see."""
    # A parent's vocabulary is kept and its columns counted again, so that its weights still mean what they did.
    kept = parent or ItemFeatures()
    vocabulary = statistics = None
    if config.attributes:
        # A vocabulary without fields counts as one.
        vocabulary = fit_vocabulary(items, config.attributes) if kept.vocabulary is None else kept.vocabulary
    if config.statistics:
        folds, item_ids = config.statistics.folds, items["item_id"]

        def counts(raw: pl.DataFrame, whole: Sequences) -> list[pl.DataFrame]:
            own = seen.kept_of(whole) if isinstance(seen, SequenceStream) else seen.shard(0)
            return count_folds(counted_events(raw, item_ids, whole, own, until), folds)

        ranges = (counts(raw, whole) for raw, whole in events)
        counted = reduce(lambda all_, own: [*map(add_counts, all_, own)], ranges)
        columns = kept.statistics.columns if kept.statistics else None
        statistics = statistics_of(counted, recency=dated, columns=columns)
    return ItemFeatures(vocabulary, statistics)


class FeatureEncoder(nn.ModuleDict):
    """One encoder per kind of feature that is read, by name; each starts as nothing and adds to the item vector."""

    def __init__(self, features: ItemFeatures, config: SpokeConfig, dimension: int) -> None:
        super().__init__()
        if config.attributes is not None and features.vocabulary is not None and len(features.vocabulary):
            self["attributes"] = AttributeEncoder(features.vocabulary, config.attributes, dimension)
        if config.statistics is not None and features.statistics is not None:
            self["statistics"] = StatisticsEncoder(features.statistics, config.statistics, dimension)

    def parts(self, rows: FeatureRows) -> dict[str, Tensor]:
        """(N, D) what each kind of feature adds to N item vectors, by name."""
        given = {name: getattr(rows, name) for name in self}
        return {name: self[name](own) for name, own in given.items() if own is not None}
