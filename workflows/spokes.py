"""Spoke versions: train a category's recommender on its sessions, on top of a hub, and never below the launch floor."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidDataError, LockedError, QualityGateError, UsageError
from ..registry.kinds import ModelKind, Relation
from ..registry.records import ModelRecord, Parent
from .loading import spoke_ref
from .models import (
    ModelResult,
    Recipe,
    Trained,
    fingerprint,
    load_hub,
    model_part,
    parse_config,
    prepare,
    ready_model,
    train_once,
    trunk_vectors,
)
from .splits import SPLITS, SplitParts, held_out, split_dataset
from .spoke_training import SpokeBuilder, training_summary

if TYPE_CHECKING:
    from ..spokes.config import SpokeConfig
    from .datasets import Dataset
    from .workspace import Workspace


class Spokes:
    """The noun `spoke`."""

    def __init__(self, workspace: Workspace) -> None:
        self._ws = workspace

    def list(self, domain: str | None = None) -> list[ModelRecord]:
        """Every spoke version, oldest first, of one domain if asked."""
        return self._ws.registry.list_models(ModelKind.SPOKE, domain)

    def show(self, ref: str) -> ModelRecord:
        """One spoke version; a domain's name stands for the spoke that is live there."""
        return ready_model(self._ws, spoke_ref(self._ws, ref), ModelKind.SPOKE)

    def train(
        self,
        domain: str,
        hub: str | None = None,
        config: Mapping[str, Any] | None = None,
        items: str | None = None,
        events: str | None = None,
        refit: bool = False,
        split: str = "leave-one-out",
        test_from: datetime | None = None,
        force: bool = False,
        dry_run: bool = False,
        index: bool = True,
        promote: bool = False,
    ) -> ModelResult:
        """Train a spoke on a domain's sessions, build its index, and make it live if nothing is yet.

        Args:
            domain: the category.
            hub: hub version; by default the live one, made untrained from packaged weights where there is none.
            config: keys of `SpokeConfig`; what it leaves open follows the size and shape of the training events, see
                `spokes.regimes`.
            items: item snapshot; by default the newest.
            events: event snapshot; by default the newest.
            refit: after choosing on validation, train again with the validation events.
            split: what is kept out for testing. `leave-one-out`: each user's last event. `temporal`: everything from
                `test_from` on. `all`: nothing; for serving, not for measuring.
            test_from: first moment of the test window, with the temporal split.
            force: train again even if the same inputs and config made a spoke before.
            dry_run: only say what would be done.
            index: build its index afterwards.
            promote: make it live even where another release is. Where the domain's gate is not met the version and its
                index stay stored; what nobody asked to promote is then left as it is, with a note.

        Raises:
            NotFoundError: no such domain, hub or snapshot, or no events yet.
            InvalidDataError: no user has enough events to train on.
            UsageError: the config or the split is not usable.
            QualityGateError: it was to be promoted and does not meet the gate.
        """
        from ..spokes.config import SpokeConfig
        from ..spokes.regimes import regime_of
        from .datasets import load_dataset

        ws = self._ws
        if split not in SPLITS:
            raise UsageError(f"There is no split {split!r}; choose one of {', '.join(SPLITS)}.")
        if (split == "temporal") != (test_from is not None):
            raise UsageError("The temporal split and --test-from go together; give both or neither.")
        if test_from is not None and test_from.tzinfo is None:
            raise UsageError(f"The start of the test window ({test_from}) names no time zone; give one, such as UTC.")
        given = {"seed": ws.settings.seed, **(config or {})}
        # Before any data is read, so that a mistake is told at once.
        spoke_config = parse_config(SpokeConfig, given, "spoke")
        dataset = load_dataset(ws, domain, items=items, events=events, streaming=spoke_config.training)
        if dataset.event_snapshot is None:
            raise InvalidDataError(
                f"{domain} has no events to train on; ingest some, or serve the hub alone with `hubspoke launch`."
            )
        # Cut first: too few events are told before a version number is taken.
        parts = split_dataset(dataset, split, test_from, spoke_config)
        spoke_config = parse_config(SpokeConfig, regime_of(parts.train).fill(given), "spoke")
        if hub:
            hub_ref: str | None = ready_model(ws, hub, ModelKind.HUB).ref
        else:
            hub_ref = ws.hub.live() if dry_run else ws.hub.ensure()
        recipe = Recipe(
            kind=ModelKind.SPOKE,
            domain=domain,
            config=spoke_config.model_dump(mode="json"),
            inputs={
                # The artifact and not the space: it also holds how the hub reads a session.
                "hub": ws.registry.get_model(hub_ref).artifact if hub_ref else None,
                "items": dataset.item_snapshot.content_hash,
                "events": dataset.event_snapshot.content_hash,
                "sessions": dict(dataset.domain.settings.get("sessions", {})),
                "split": [split, test_from, refit],
            },
            seed=spoke_config.seed,
        )
        about = {"name": split, "test_from": test_from.isoformat() if test_from else None, "refit": refit}
        # Where a training that is killed leaves its checkpoints; the repeated command goes on from them.
        kept = ws.cache_dir / "training" / fingerprint([domain, recipe.fingerprint])
        result = train_once(
            ws,
            recipe,
            lambda: self._train(str(hub_ref), spoke_config, dataset, about, parts, kept),
            force=force,
            dry_run=dry_run,
        )
        if not dry_run:
            shutil.rmtree(kept, ignore_errors=True)
        return result if dry_run or not index else self._index(domain, result, promote)

    def _index(self, domain: str, result: ModelResult, promote: bool) -> ModelResult:
        ws = self._ws
        built = ws.index.build(str(result.ref))
        if not promote and ws.registry.get_domain(domain).live:
            return replace(result, index=built.ref)
        try:
            # Where somebody else made a first release during the training, nobody asked for another one.
            reason = "newly trained" if promote else "first release"
            moved = ws.promote(str(result.ref), reason=reason, first=not promote)
        except (QualityGateError, LockedError) as error:
            told = f"{result.ref} is stored with {built.ref} but not promoted: {error}"
            if promote:
                raise type(error)(told) from error
            ws.progress.note(told)
            return replace(result, index=built.ref)
        return replace(result, index=built.ref, release=moved.after)

    def _train(
        self,
        hub_ref: str,
        config: SpokeConfig,
        dataset: Dataset,
        split: Mapping[str, Any],
        parts: SplitParts,
        kept: Path,
    ) -> Trained:
        from ..hub.content import fit_content_space
        from ..spokes.parts import spoke_parts

        prepare(self._ws)
        hub, hub_record = load_hub(self._ws, hub_ref)
        trunk = trunk_vectors(self._ws, hub, dataset, config.content, config.heads)
        space = fit_content_space(hub.fusion.fuse(trunk), hub.config)
        builder = SpokeBuilder(self._ws, hub, config, dataset, trunk, space, kept)
        spoke, run = builder.choose(parts)
        if split["refit"] and spoke.behaviour:
            spoke = builder.refit(spoke, parts, run.best_epoch)
        seen = parts.refit if split["refit"] else parts.train
        summary = training_summary(spoke, run, parts, seen) | {
            "split": dict(split),
            "waterfall": dataset.waterfall,
            "held_out": held_out(dataset) if split["name"] == "leave-one-out" else None,
        }
        parents = [
            Parent(hub_record.ref, Relation.ADAPTED_FROM, "fusion", _adaptation(config)),
            Parent(dataset.item_snapshot.ref, Relation.TRAINED_ON, "items"),
            Parent(str(getattr(dataset.event_snapshot, "ref", "")), Relation.TRAINED_ON, "events"),
        ]
        made_of = spoke_parts(spoke, hub)
        parents += [Parent(hub_record.ref, Relation.INHERITS, p.name, p.inherited) for p in made_of if p.inherited]
        named = [model_part(part, hub_record.ref) for part in made_of]
        return Trained(spoke.save, spoke.space_fingerprint, summary, parents, named)


def _adaptation(config: SpokeConfig) -> str:
    if not config.content:
        return "no content is read"
    fusion = "LoRA on the base fusion" if config.adapter else "the base fusion as it is"
    return f"{fusion}; LoRA on the last layers of {' and '.join(config.heads)}" if config.heads else fusion
