"""Spoke versions: train a category's recommender on its sessions, on top of a hub, and never below the launch floor."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidDataError, LockedError, QualityGateError, UsageError
from ..registry.kinds import ModelKind, Relation
from ..registry.records import ModelRecord, Parent
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
from .progress import stage_progress

if TYPE_CHECKING:
    from ..catalog.sequences import Sequences
    from ..hub.calibration import FloatArray
    from ..hub.content import ContentSpace
    from ..hub.fusion import TrunkVectors
    from ..hub.model import Hub
    from ..spokes.behaviour import BehaviourModel, ItemInputs
    from ..spokes.config import SpokeConfig
    from ..spokes.mixture import Mixture, PartScores
    from ..spokes.spoke import Behaviour, Spoke
    from ..spokes.training import TrainingRun
    from .datasets import Dataset
    from .measures import Validation
    from .workspace import Workspace

SPLITS = ("leave-one-out", "temporal", "all")


@dataclass(frozen=True)
class SplitParts:
    """What a spoke may see, and what it is chosen on.

    Attributes:
        train: events for choosing epochs and weights.
        refit: those and the validation events.
        validation: users that the choice is made on.
        until: microseconds UTC from where on nothing at all may be seen; None where the split is not one in time.
    """

    train: Sequences
    refit: Sequences
    validation: Validation
    until: int | None = None


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
            config: keys of `SpokeConfig`.
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
        from .datasets import load_dataset

        ws = self._ws
        if split not in SPLITS:
            raise UsageError(f"There is no split {split!r}; choose one of {', '.join(SPLITS)}.")
        if (split == "temporal") != (test_from is not None):
            raise UsageError("The temporal split and --test-from go together; give both or neither.")
        if test_from is not None and test_from.tzinfo is None:
            raise UsageError(f"The start of the test window ({test_from}) names no time zone; give one, such as UTC.")
        spoke_config = parse_config(SpokeConfig, {"seed": ws.settings.seed, **(config or {})}, "spoke")
        dataset = load_dataset(ws, domain, items=items, events=events)
        if dataset.event_snapshot is None:
            raise InvalidDataError(
                f"{domain} has no events to train on; ingest some, or serve the hub alone with `hubspoke launch`."
            )
        # Cut first: too few events are told before a version number is taken.
        parts = split_parts(dataset.sequences, split, test_from, spoke_config)
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
        trunk = trunk_vectors(self._ws, hub, dataset)
        space = fit_content_space(hub.fusion.fuse(trunk), hub.config)
        builder = _Builder(self._ws, hub, config, dataset, trunk, space, kept)
        spoke, run = builder.choose(parts)
        if split["refit"] and spoke.behaviour:
            spoke = builder.refit(spoke, parts, run.best_epoch)
        seen = parts.refit if split["refit"] else parts.train
        summary = _summary(spoke, run, parts, seen) | {
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
    return "LoRA on the base fusion" if config.adapter else "the base fusion as it is"


def held_out(dataset: Dataset) -> str:
    """SHA-256 over what leave-one-out tests: each user's last event and its place in the history.

    Another catalog or other session settings change which event is a user's last, and with it what a model may see.
    """
    from ..evaluation.protocols import leave_one_out

    ids = dataset.items["item_id"].to_list()
    users = leave_one_out(dataset.sequences, "test")
    asked = zip(users.users, users.histories, users.targets, strict=True)
    return fingerprint([[user, len(history), *(ids[row] for row in target)] for user, history, target in asked])


def split_parts(sequences: Sequences, split: str, test_from: datetime | None, config: SpokeConfig) -> SplitParts:
    """Cut sequences into what a spoke is trained on and what it is chosen on.

    Raises:
        InvalidDataError: nobody has enough events.
    """
    from ..evaluation.protocols import Protocol, leave_one_out, training_mask
    from .measures import validation

    until = int(test_from.timestamp() * 1_000_000) if test_from is not None else None
    if until is not None:
        sequences = sequences.keep_events(sequences.timestamps < until)
    if split == "leave-one-out":
        users = leave_one_out(sequences, "validation")
        train, refit = (
            sequences.keep_events(training_mask(sequences, Protocol(refit=refitted))) for refitted in (False, True)
        )
    else:
        # Nothing is kept for a test: the last event of each user is what the choice is made on.
        users = leave_one_out(sequences, "test")
        train, refit = sequences.keep_events(training_mask(sequences, Protocol(refit=True))), sequences
    if not len(users) or not (train.lengths >= 2).any():
        raise InvalidDataError(
            f"Of {len(sequences.user_ids)} users with events none has the three that training needs; "
            "wait for more events and serve the hub alone meanwhile."
        )
    # What may be seen decides the serving policy of the choice too, so that not even that depends on the test.
    return SplitParts(train, refit, validation(users, refit, config.training.validation_users, config.seed), until)


class _Builder:
    """Trains behavioural parts of one spoke and puts them beside its floor."""

    def __init__(
        self,
        ws: Workspace,
        hub: Hub,
        config: SpokeConfig,
        dataset: Dataset,
        trunk: TrunkVectors,
        space: ContentSpace,
        kept: Path,
    ) -> None:
        from ..spokes.spoke import floor_settings

        self._ws = ws
        self._hub = hub
        self._config = config
        self._dataset = dataset
        self._item_ids = dataset.items["item_id"].to_list()
        self._trunk = trunk
        self._space = space
        self._content = space.embed(hub.fusion.fuse(trunk))
        self._floor = floor_settings(hub.config)
        self._kept = kept

    def choose(self, parts: SplitParts) -> tuple[Spoke, TrainingRun]:
        """Train with early stopping on validation, then choose the mixture there."""
        from ..spokes.checkpoints import Checkpoints
        from ..spokes.mixture import choose_floor, probe
        from ..spokes.training import train_behaviour

        checked = parts.validation
        content = {recency: self._content_scores(checked, *recency) for recency in self._recencies()}
        measure = checked.measure(checked.filter_seen)
        settings = choose_floor(content, measure, self._floor)
        floor = content[settings.recency_decay, settings.recent_events]
        behaviour = self._behaviour(parts.train, parts.until)
        inputs = behaviour.inputs(self._item_ids, self._trunk, self._dataset.items)
        run = train_behaviour(
            behaviour.model,
            inputs,
            parts.train,
            self._config,
            validate=lambda model: probe(
                replace(floor, behaviour=_scores(model, inputs, checked)), measure, settings.image_share
            ),
            progress=stage_progress(self._ws.progress, "training the spoke"),
            checkpoints=Checkpoints(self._kept / "choice"),
        )
        mixture = self._mixture(content, _scores(behaviour.model, inputs, checked), behaviour, checked)
        return self._spoke(behaviour, mixture), run

    def refit(self, spoke: Spoke, parts: SplitParts, epochs: int) -> Spoke:
        """Train from scratch on training and validation events together, for the epochs chosen before."""
        from ..spokes.checkpoints import Checkpoints
        from ..spokes.training import train_behaviour

        behaviour = self._behaviour(parts.refit, parts.until)
        train_behaviour(
            behaviour.model,
            behaviour.inputs(self._item_ids, self._trunk, self._dataset.items),
            parts.refit,
            self._config,
            epochs=epochs,
            progress=stage_progress(self._ws.progress, "refitting the spoke"),
            checkpoints=Checkpoints(self._kept / "refit"),
        )
        return self._spoke(behaviour, spoke.mixture)

    def _behaviour(self, sequences: Sequences, until: int | None) -> Behaviour:
        from ..hub.devices import pick_device, seed_everything
        from ..spokes.behaviour import BehaviourModel
        from ..spokes.memory import refuse_beyond_device
        from ..spokes.spoke import Behaviour
        from .features import fit_features

        counts = sequences.item_counts()
        frequent = np.flatnonzero(counts >= self._config.min_item_count)
        known = tuple(self._item_ids[row] for row in frequent)
        features = fit_features(self._ws, self._dataset, self._config, sequences, until)
        device, fusion = pick_device(self._ws.settings.device), self._hub.fusion
        columns = fusion.down.in_features + fusion.down.out_features + 2 * self._space.dimension
        refuse_beyond_device(self._config, len(known), len(self._item_ids), columns, device)
        seed_everything(self._config.seed)
        model = BehaviourModel(self._config, fusion, self._space, len(known), features).to(device)
        if self._config.id_dropout_events:
            model.lean_on_events(counts[frequent])
        return Behaviour(self._config, model, known, features)

    def _spoke(self, behaviour: Behaviour | None, mixture: Mixture) -> Spoke:
        from ..spokes.spoke import Spoke

        hub = self._hub
        return Spoke(hub.fusion, hub.fingerprint, self._space, behaviour, mixture)

    def _recencies(self) -> tuple[tuple[float, int], ...]:
        from ..spokes.mixture import RECENCIES

        return tuple(dict.fromkeys([(self._floor.recency_decay, self._floor.recent_events), *RECENCIES]))

    def _content_scores(self, checked: Validation, decay: float, events: int) -> PartScores:
        from ..hub.content import recency_weighted
        from ..spokes.mixture import PartScores

        queries = recency_weighted(self._content, checked.histories, decay, events)
        split = self._space.text_rank
        text = queries[:, :split] @ self._content[:, :split].T if split else None
        image = queries[:, split:] @ self._content[:, split:].T if self._space.image_rank else None
        return PartScores(None, text, image)

    def _mixture(
        self,
        content: Mapping[tuple[float, int], PartScores],
        scores: FloatArray,
        behaviour: Behaviour,
        checked: Validation,
    ) -> Mixture:
        from ..spokes.mixture import Mixture, choose_floor, choose_weights
        from ..spokes.spoke import UNKNOWN_ID_ROW, id_rows

        cold = id_rows(self._item_ids, behaviour.known_items) == UNKNOWN_ID_ROW
        chosen = {}
        for filtered in (False, True):
            measure = checked.measure(filtered)
            settings = choose_floor(content, measure, self._floor)
            floor = content[settings.recency_decay, settings.recent_events]
            chosen[filtered] = choose_weights(replace(floor, behaviour=scores), measure, settings, cold)
        return Mixture(seen_ranked=chosen[False], seen_filtered=chosen[True])


def _scores(model: BehaviourModel, inputs: ItemInputs, checked: Validation) -> FloatArray:
    """(U, N) scores of the validation users by behaviour alone."""
    vectors = model.item_vectors(inputs)
    scores: FloatArray = model.session_vectors(vectors, checked.histories) @ vectors.T
    return scores


def load_spoke(ws: Workspace, record: ModelRecord) -> tuple[Spoke, Hub]:
    """A stored spoke version on its hub.

    Raises:
        CorruptArtifactError: its artifact no longer matches its checksum.
        IncompatibleError: its hub's trunks are not those on this machine.
    """
    from ..hub.devices import pick_device
    from ..spokes.spoke import Spoke

    hub, _ = load_hub(ws, ws.registry.hub_of(record.ref).ref)
    spoke = Spoke.load(ws.artifacts.open(str(record.artifact)), hub)
    if spoke.behaviour:
        spoke.behaviour.model.to(pick_device(ws.settings.device))
    return spoke, hub


def over_catalog(ws: Workspace, model: ModelRecord, dataset: Dataset) -> tuple[Spoke, TrunkVectors]:
    """A spoke version, or a hub version's launch floor, with the trunk vectors of the catalog that it is to serve.

    Raises:
        CorruptArtifactError: an artifact no longer matches its checksum.
        IncompatibleError: the hub's trunks are not those on this machine.
    """
    from ..hub.content import fit_content_space
    from ..spokes.spoke import launch_floor

    if model.kind == ModelKind.SPOKE:
        spoke, hub = load_spoke(ws, model)
        return spoke, trunk_vectors(ws, hub, dataset)
    hub, _ = load_hub(ws, model.ref)
    trunk = trunk_vectors(ws, hub, dataset)
    return launch_floor(hub, fit_content_space(hub.fusion.fuse(trunk), hub.config)), trunk


def spoke_ref(ws: Workspace, ref: str) -> str:
    """The spoke version behind a reference; a domain, alias or release stands for the spoke that it serves.

    Raises:
        UsageError: the hub alone serves there.
    """
    node = ws.registry.resolve(ref)
    if node.kind != "release":
        return node.ref
    release = ws.registry.get_release(node.ref)
    if release.spoke is None:
        domain = release.domain
        raise UsageError(f"In {release.ref} the hub alone serves; train one with `hubspoke spoke train {domain}`.")
    return release.spoke


def _summary(spoke: Spoke, run: TrainingRun, parts: SplitParts, seen: Sequences) -> dict[str, Any]:
    behaviour = spoke.behaviour
    model = behaviour.model if behaviour else None
    return {
        "epochs": run.best_epoch,
        "validation_ndcg@10": round(run.best_score, 5),
        "validation_users": len(parts.validation.users),
        "validation_filters_seen": parts.validation.filter_seen,
        "mixture": spoke.mixture.model_dump(),
        "windows_per_second": round(run.windows_per_second),
        "history": list(run.history),
        "training_events": len(seen.items),
        "training_users": len(np.unique(seen.users)),
        "training_end": int(seen.timestamps.max()) if len(seen.items) else None,
        "items_with_id": len(behaviour.known_items) if behaviour else 0,
        "dimension": spoke.dimension,
        "parameters": {
            "trained": sum(p.numel() for p in model.parameters() if p.requires_grad) if model else 0,
            "ids": model.ids.weight.numel() if model else 0,
        },
    }
