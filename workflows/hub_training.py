"""How a hub is trained: contrastively on all categories, kept as far as it helps categories that it has not seen."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import DoubleArray, FloatArray
from ..catalog.sequences import co_engaged_pairs
from ..errors import InvalidDataError
from ..evaluation.bootstrap import paired_difference
from ..evaluation.protocols import Protocol, leave_one_out, training_mask
from ..hub.config import HubConfig
from ..hub.content import fit_content_space, recency_weighted
from ..hub.contrastive import ContrastiveDomain, train_fusion
from ..hub.devices import seed_everything
from ..hub.fusion import BaseFusion, EncodedItems, interpolate
from ..hub.model import Hub
from ..hub.parts import hub_parts
from ..hub.threads import arithmetic_threads, threads_worth
from ..registry.kinds import Relation
from ..registry.records import Parent
from ..spokes.training.validation import Validation, validation
from .datasets import Dataset
from .loading import encode_items
from .models import Trained, model_part, prepare

if TYPE_CHECKING:
    from .context import Context

# Shoppers of a category that a share is judged by: their mean NDCG@10 is certain to about 0.01, and all
# shares of all categories are ranked in minutes.
JUDGED_USERS = 2000


@dataclass(frozen=True)
class _Category:
    """One category on its way through the training; without enough events it has no users to judge by."""

    dataset: Dataset
    encoded: EncodedItems
    contrastive: ContrastiveDomain
    validation: Validation | None

    @property
    def name(self) -> str:
        return self.dataset.domain.name


def train_hub(context: Context, config: HubConfig, datasets: Sequence[Dataset], held_out: str | None) -> Trained:
    """Train, choose how much of the training to keep, and hand over what is to be stored."""
    prepare(context)
    seed_everything(config.seed)
    hub = Hub(config, device=context.settings.device)
    categories = [_category(context, hub, dataset) for dataset in datasets]
    table: list[dict[str, Any]] = []
    share, losses = 0.0, list[float]()
    if config.contrastive.steps and any(len(category.contrastive.pairs) for category in categories):
        table = _judged_shares(context, hub, categories, held_out)
        share = _kept_share(table)
        if share:
            final = [category for category in categories if category.name != held_out]
            trained, losses = _fit(context, hub, final, "training the fusion")
            hub.fusion = _between(hub.fusion, trained, share)
    summary = {
        "domains": [category.name for category in categories],
        "items": sum(len(category.encoded) for category in categories),
        "kept_share": share,
        "final_loss": round(sum(losses[-20:]) / len(losses[-20:]), 4) if losses else None,
        "parameters": sum(p.numel() for p in hub.fusion.parameters()),
        "encoders": hub.encoder_fingerprints,
        "table": table,
    }
    snapshots = [own for dataset in datasets for own in (dataset.item_snapshot, dataset.event_snapshot) if own]
    parents = [Parent(snapshot.ref, Relation.TRAINED_ON, snapshot.kind) for snapshot in snapshots]
    return Trained(hub.save, hub.fingerprint, summary, parents, [model_part(part) for part in hub_parts(hub)])


def _category(context: Context, hub: Hub, dataset: Dataset) -> _Category:
    encoded = encode_items(context, hub, dataset)
    space = fit_content_space(hub.fusion.fuse(encoded), hub.config)
    # Pairs come from what is before validation, so that a category may judge and train in turn.
    seen = dataset.sequences.keep_events(training_mask(dataset.sequences, Protocol()))
    pairs = co_engaged_pairs(seen, hub.config.contrastive.window)
    users, judges = leave_one_out(dataset.sequences, "validation"), None
    if len(users):
        drawn = validation(users, seen, JUDGED_USERS, hub.config.seed)
        judges = drawn.sample(JUDGED_USERS, hub.config.seed)
    return _Category(dataset, encoded, ContrastiveDomain(encoded, space, pairs), judges)


def _fit(context: Context, hub: Hub, categories: Sequence[_Category], stage: str) -> tuple[BaseFusion, list[float]]:
    # Of both items of every pair in a step, one layer of the fusion.
    work = 2 * hub.config.contrastive.batch_size * hub.fusion.down.weight.numel()
    with arithmetic_threads(threads_worth(work, context.settings.threads)):
        return train_fusion(
            hub.fusion,
            [category.contrastive for category in categories],
            hub.config.contrastive,
            image_share=hub.config.image_share,
            seed=hub.config.seed,
            progress=context.progress.stage(stage),
        )


def _between(start: BaseFusion, trained: BaseFusion, share: float) -> BaseFusion:
    fusion = copy.deepcopy(start)
    fusion.load_state_dict(interpolate(start, trained, share))
    return fusion


def _judged_shares(
    context: Context, hub: Hub, categories: Sequence[_Category], held_out: str | None
) -> list[dict[str, Any]]:
    """Zero-shot quality on each category, or `held_out` alone, of every share of a fusion trained on the others."""
    rows: list[dict[str, Any]] = []
    for category in categories:
        others = [other for other in categories if other is not category]
        trainable = any(len(other.contrastive.pairs) for other in others)
        if not (trainable and category.validation and held_out in (None, category.name)):
            continue
        trained, _ = _fit(context, hub, others, f"training the fusion without {category.name}")
        start = _zero_shot(hub, hub.fusion, category, category.validation)
        rows.append({"held_out": category.name, "share": 0.0, "ndcg@10": float(start.mean()), "difference": 0.0})
        for share in hub.config.contrastive.interpolations:
            own = _zero_shot(hub, _between(hub.fusion, trained, share), category, category.validation)
            change = paired_difference(own, start)
            found = {"difference": change.value, "low": change.low, "high": change.high}
            rows.append({"held_out": category.name, "share": share, "ndcg@10": float(own.mean()), **found})
    if held_out is not None and not rows:
        raise InvalidDataError(
            f"{held_out} cannot judge the training; hold out a domain with events, beside others with events."
        )
    return rows


def _zero_shot(hub: Hub, fusion: BaseFusion, category: _Category, judges: Validation) -> DoubleArray:
    """(U,) NDCG@10 of the launch floor on a category, calibrated on its own catalog."""
    fused = fusion.fuse(category.encoded)
    space = fit_content_space(fused, hub.config)
    content = space.embed(fused)  # (N, R)
    queries = recency_weighted(content, judges.histories, hub.config.recency_decay, hub.config.recent_events)  # (U, R)
    weighted: FloatArray = queries * space.modality_weights(hub.config.image_share)
    return judges.ndcg(weighted @ content.T, judges.filter_seen).astype(np.float64)  # of scores (U, N)


def _kept_share(rows: Sequence[Mapping[str, Any]]) -> float:
    """The share of the training that is kept: the largest mean relative gain wins, the smallest share a tie.

    A share that hurts a category is none: its paired 95 % interval of the difference to the start lies below zero.
    """
    gains: dict[float, list[float]] = {}
    harmful = {row["share"] for row in rows if row.get("high", 0.0) < 0.0}
    for row in rows:
        start = next(r["ndcg@10"] for r in rows if r["held_out"] == row["held_out"] and r["share"] == 0.0)
        gains.setdefault(row["share"], []).append(row["difference"] / start if start else 0.0)
    means = {share: sum(own) / len(own) for share, own in gains.items() if share not in harmful}
    return max(means, key=lambda share: (means[share], -share), default=0.0)
