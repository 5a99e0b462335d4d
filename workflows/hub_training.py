"""How a hub is trained: contrastively on all categories, kept as far as it helps categories it has not seen."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import FloatArray
from ..catalog.sequences import co_engaged_pairs
from ..errors import InvalidDataError, UsageError
from ..evaluation.bootstrap import paired_difference
from ..evaluation.protocols import Protocol, leave_one_out, training_mask
from ..hub.config import HubConfig
from ..hub.content import fit_content_space, recency_weighted
from ..hub.contrastive import ContrastiveDomain, train_fusion
from ..hub.devices import seed_everything
from ..hub.fusion import BaseFusion, EncodedItems, interpolate
from ..hub.model import Hub
from ..hub.parts import hub_parts
from ..progress import stage_progress
from ..registry.kinds import Relation
from ..registry.records import Parent
from ..spokes.training.validation import Validation, validation
from .datasets import Dataset
from .models import Trained, encode_items, model_part, prepare

if TYPE_CHECKING:
    from .context import Context


@dataclass(frozen=True)
class _Category:
    """One category on its way through the training."""

    dataset: Dataset
    encoded: EncodedItems
    contrastive: ContrastiveDomain
    validation: Validation | None


class HubTraining:
    """The training of one hub version in a workspace."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def train(self, config: HubConfig, datasets: Sequence[Dataset], held_out: str | None) -> Trained:
        """Train, choose how much of the training to keep, and hand over what is to be stored."""
        prepare(self._context)
        seed_everything(config.seed)
        hub = Hub(config, device=self._context.settings.device)
        categories = [self._category(hub, dataset) for dataset in datasets]
        table: list[dict[str, Any]] = []
        share = 0.0
        losses: list[float] = []
        if config.contrastive.steps and any(len(c.contrastive.pairs) for c in categories):
            table, share = self._choose_share(hub, categories, held_out)
            if share:
                final = [c for c in categories if c.dataset.domain.name != held_out]
                hub.fusion, losses = self._fit(hub, final, share, "training the fusion")
        summary = {
            "domains": [dataset.domain.name for dataset in datasets],
            "items": sum(len(category.encoded) for category in categories),
            "kept_share": share,
            "final_loss": round(sum(losses[-20:]) / len(losses[-20:]), 4) if losses else None,
            "parameters": sum(p.numel() for p in hub.fusion.parameters()),
            "encoders": hub.encoder_fingerprints,
            "table": table,
        }
        parts = [model_part(part) for part in hub_parts(hub)]
        return Trained(hub.save, hub.fingerprint, summary, _parents(datasets), parts)

    def _category(self, hub: Hub, dataset: Dataset) -> _Category:

        encoded = encode_items(self._context, hub, dataset)
        space = fit_content_space(hub.fusion.fuse(encoded), hub.config)
        seen = dataset.sequences.keep_events(training_mask(dataset.sequences, Protocol()))
        users = leave_one_out(dataset.sequences, "validation")
        return _Category(
            dataset,
            encoded,
            ContrastiveDomain(encoded, space, co_engaged_pairs(seen, hub.config.contrastive.window)),
            validation(users, seen, 2000, hub.config.seed).sample(2000, hub.config.seed) if len(users) else None,
        )

    def _fit(
        self, hub: Hub, categories: Sequence[_Category], share: float, stage: str
    ) -> tuple[BaseFusion, list[float]]:

        trained, losses = train_fusion(
            hub.fusion,
            [category.contrastive for category in categories],
            hub.config.contrastive,
            image_share=hub.config.image_share,
            seed=hub.config.seed,
            progress=stage_progress(self._context.progress, stage),
        )
        trained.load_state_dict(interpolate(hub.fusion, trained, share))
        return trained, losses

    def _choose_share(
        self, hub: Hub, categories: Sequence[_Category], held_out: str | None
    ) -> tuple[list[dict[str, Any]], float]:
        """Zero-shot quality on each held-out category for every share, and the share that is kept.

        A share is kept only if it helps on average and hurts no held-out category: none of the paired 95 % intervals of
        the difference to the untrained hub may lie below zero. The smallest share wins a tie.

        Raises:
            InvalidDataError: `held_out` has nobody to judge by, or there is nothing else to train on.
        """
        rows: list[dict[str, Any]] = []
        for category in categories:
            others = [c for c in categories if c is not category]
            trainable = any(len(c.contrastive.pairs) for c in others)
            if trainable and category.validation and held_out in (None, category.dataset.domain.name):
                rows += self._judge(hub, category, others)
        if held_out is not None and not rows:
            raise InvalidDataError(
                f"{held_out} cannot judge the training; hold out a domain with events, beside others with events."
            )
        return rows, _kept_share(rows)

    def _judge(self, hub: Hub, category: _Category, others: Sequence[_Category]) -> list[dict[str, Any]]:
        """Zero-shot quality on one category of a fusion trained on the others, for every share."""
        name = category.dataset.domain.name
        trained, _ = self._fit(hub, others, 1.0, f"training the fusion without {name}")
        start = self._zero_shot(hub, hub.fusion, category).astype(np.float64)
        rows: list[dict[str, Any]] = [
            {"held_out": name, "share": 0.0, "ndcg@10": float(start.mean()), "difference": 0.0}
        ]
        for share in hub.config.contrastive.interpolations:
            fusion = self._fusion(hub, interpolate(hub.fusion, trained, share))
            own = self._zero_shot(hub, fusion, category).astype(np.float64)
            change = paired_difference(own, start)
            found = {"difference": change.value, "low": change.low, "high": change.high}
            rows.append({"held_out": name, "share": share, "ndcg@10": float(own.mean()), **found})
        return rows

    def _fusion(self, hub: Hub, weights: Mapping[str, Any]) -> BaseFusion:

        fusion = copy.deepcopy(hub.fusion)
        fusion.load_state_dict(dict(weights))
        return fusion

    def _zero_shot(self, hub: Hub, fusion: BaseFusion, category: _Category) -> FloatArray:
        """(U,) NDCG@10 of the launch floor on a category, calibrated on its own catalog."""

        fused = fusion.fuse(category.encoded)
        space = fit_content_space(fused, hub.config)
        content = space.embed(fused)
        checked = category.validation
        if checked is None:
            raise UsageError("a category without validation users cannot be judged; give it events.")
        queries = recency_weighted(content, checked.histories, hub.config.recency_decay, hub.config.recent_events)
        weighted: FloatArray = queries * space.modality_weights(hub.config.image_share)
        return checked.ndcg(weighted @ content.T, checked.filter_seen)


def _kept_share(rows: Sequence[Mapping[str, Any]]) -> float:
    gains: dict[float, list[float]] = {}
    harmful = {row["share"] for row in rows if row.get("high", 0.0) < 0.0}
    for row in rows:
        start = next(r["ndcg@10"] for r in rows if r["held_out"] == row["held_out"] and r["share"] == 0.0)
        gains.setdefault(row["share"], []).append(row["difference"] / start if start else 0.0)
    means = {share: sum(own) / len(own) for share, own in gains.items() if share not in harmful}
    return max(means, key=lambda share: (means[share], -share), default=0.0)


def _parents(datasets: Sequence[Dataset]) -> list[Parent]:
    snapshots = [s for d in datasets for s in (d.item_snapshot, d.event_snapshot) if s is not None]
    return [Parent(snapshot.ref, Relation.TRAINED_ON, snapshot.kind) for snapshot in snapshots]
