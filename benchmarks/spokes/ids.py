"""A public benchmark file as sequences, and a behavioural part that knows items by their IDs alone."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hubspoke.catalog.sequences import Histories, Sequences
from hubspoke.commands.options import read_config
from hubspoke.errors import InvalidDataError, NotFoundError
from hubspoke.evaluation.protocols import EvaluationSet, Protocol, leave_one_out
from hubspoke.hub.config import FusionConfig
from hubspoke.hub.content import ContentSpace
from hubspoke.hub.devices import seed_everything
from hubspoke.hub.fusion import BaseFusion, EncodedItems
from hubspoke.spokes.config import SpokeConfig
from hubspoke.spokes.model import BehaviourModel, ItemInputs
from hubspoke.spokes.recommender import VectorRecommender
from hubspoke.spokes.regimes import Regime, deep_merge
from hubspoke.spokes.spoke import id_rows
from hubspoke.spokes.training.validation import REPEAT_SHARE, Validation, repeat_share
from hubspoke.workflows.models import parse_config

Score = Callable[[Histories], np.ndarray]

# Without content an ID is all that an item has: every item that occurs keeps its own, and it is never dropped.
IDS_ONLY: Mapping[str, Any] = {"content": [], "min_item_count": 1, "id_dropout": 0.0, "statistics": None}
# No regime: the defaults of the configuration itself.
PLAIN = Regime("plain", {})
# Users whose scores of the whole catalog are held at once while validating.
BLOCK = 500


def read_sequences(path: str | Path) -> Sequences:
    """A benchmark file, gzipped or not: `user item item ...` with a user a line, or `user item` with an event a line.

    Lines and items are in the order of time; where every line has two words they are events.

    Raises:
        NotFoundError: no such file.
        InvalidDataError: it is empty, or a line names no item.
    """
    try:
        lines = list(_lines(Path(path)))
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file {path}; check the path.") from error
    if not lines or min(map(len, lines)) < 2:
        raise InvalidDataError(f"{path} has lines without an item; write `user item item ...` or `user item` a line.")
    users: dict[str, list[str]] = {}
    for user, *items in lines:
        users.setdefault(user, []).extend(items)
    rows = {item: row for row, item in enumerate(sorted({i for own in users.values() for i in own}, key=_place))}
    lengths = [len(items) for items in users.values()]
    return Sequences(
        items=np.array([rows[item] for items in users.values() for item in items], np.int64),
        timestamps=np.arange(sum(lengths), dtype=np.int64),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        users=np.arange(len(users)),
        user_ids=tuple(users),
        n_items=len(rows),
    )


def _lines(path: Path) -> Iterator[list[str]]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    return (line.split() for line in text.splitlines() if line.strip())


def _place(item: str) -> tuple[int, str]:
    return (len(item), item)


def ids_config(path: str | None, settings: Sequence[str], regime: Regime = PLAIN, **given: Any) -> SpokeConfig:
    """The configuration of a spoke without content: defaults, then a file, then `KEY=VALUE` settings.

    Args:
        path: YAML or JSON, or None.
        settings: such as `training.max_epochs=20`.
        regime: fills in what none of them says.
        given: keys of the configuration that other options of a script decide.

    Raises:
        UsageError: the configuration is not usable.
    """
    merged: Mapping[str, Any] = IDS_ONLY
    for over in (read_config(path, ()), given, read_config(None, tuple(settings))):
        merged = deep_merge(merged, over or {})
    return parse_config(SpokeConfig, regime.fill(merged), "spoke")


@dataclass(frozen=True)
class IdSpoke:
    """A behavioural part over IDs.

    Attributes:
        config: what it is made of.
        model: the network, on its device.
        inputs: of the catalog's items.
    """

    config: SpokeConfig
    model: BehaviourModel
    inputs: ItemInputs

    def recommender(self) -> VectorRecommender:
        """The recommender of the weights as they are now."""
        vectors = self.model.item_vectors(self.inputs)
        return VectorRecommender("ids", vectors, lambda histories: self.model.session_vectors(vectors, histories))


def make_spoke(config: SpokeConfig, training: Sequences, device: torch.device) -> IdSpoke:
    """An untrained spoke for a catalog of `training.n_items` items of which those with enough events have an ID."""
    n = training.n_items
    names = [str(row) for row in range(n)]
    known = [names[row] for row in np.flatnonzero(training.item_counts() >= config.min_item_count)]
    seed_everything(config.seed)
    model = BehaviourModel(config, BaseFusion(1, 0, FusionConfig()), ContentSpace(None, None), len(known)).to(device)
    encoded = EncodedItems(np.zeros((n, 1), np.float32), np.zeros((n, 0), np.float32))
    return IdSpoke(config, model, model.inputs(encoded, id_rows(names, known)))


def validation_users(sequences: Sequences, max_history: int, at_most: int, seed: int = 0) -> Validation:
    """Users to choose on under leave-one-out, and whether items they have seen are filtered there (few buy twice)."""
    users = leave_one_out(sequences, "validation", Protocol(max_history=max_history)).drawn(at_most, seed)
    return Validation(users, filter_seen=repeat_share(sequences) < REPEAT_SHARE)


def ndcg(score: Score, users: EvaluationSet, filter_seen: bool) -> float:
    """Mean NDCG@10 by full ranking, the package's own measure, without ever holding the scores of all users."""
    found = []
    for rows in np.array_split(np.arange(len(users)), max(1, -(-len(users) // BLOCK))):
        part = Validation(users.only(rows.tolist()), filter_seen)
        found.append(part.ndcg(score(part.histories), filter_seen))
    return float(np.concatenate(found).mean())
