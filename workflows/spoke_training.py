"""How a spoke is trained: behaviour beside its floor, chosen on validation, refitted if asked; by one process or more.

A job in plain data decides a training, so that every process of a team makes the same of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidDataError
from ..registry.kinds import ModelKind, Relation
from ..registry.records import Parent
from ..results import fingerprint
from ..spokes.training.splits import Split, SplitSettings, held_out_fingerprint, split
from .hubs import Hubs
from .loading import encode_items, load_hub, ready_model
from .models import Recipe, Trained, model_part, parse_config, prepare
from .warm_start import WarmStart, load_parent, measured_drift, take_from, warm_start

if TYPE_CHECKING:
    from ..catalog.sequences import SequenceSource
    from ..spokes.config import SpokeConfig
    from ..spokes.mixture import Mixture
    from ..spokes.model import BehaviourModel, ItemInputs
    from ..spokes.selection import Selection
    from ..spokes.spoke import Behaviour, Spoke
    from ..spokes.training.loop import TrainingRun, Validate
    from .context import Context
    from .teams import Leader


@dataclass(frozen=True)
class SpokeJob:
    """What is to be trained on what.

    Attributes:
        domain: the category.
        hub: hub version; None for the live one.
        config: of the spoke; what is left open follows the data's regime, where there is no parent.
        items: item snapshot; None for the newest.
        events: event snapshot; None for the newest.
        split: what is kept out.
        test_from: first moment of the test window, ISO 8601.
        refit: whether the validation events are trained on after the choice.
        parent: version that is gone on from; None for a training from scratch.
        on: `all` events or those that are `new` to the parent.
    """

    domain: str
    hub: str | None
    config: Mapping[str, Any]
    items: str | None
    events: str | None
    split: str
    test_from: str | None
    refit: bool
    parent: str | None = None
    on: str = "all"

    def to_json(self) -> dict[str, Any]:
        """Plain data; `SpokeJob(**data)` is the inverse."""
        return asdict(self)


class SpokePlan:
    """A job with its data, cut and checked, before anything is trained.

    Args:
        context: the workspace.
        job: what is to be trained.
        dry_run: make no hub where there is none.

    Attributes:
        job: the same with all that was left open.

    Raises:
        NotFoundError: no such domain, snapshot or version, or no events yet.
        InvalidDataError: no user has enough events to train on, or nothing is new to the parent.
        UsageError: the config is not usable, or the parent has seen what is kept out.
        IncompatibleError: the parent's weights would not fit.
    """

    def __init__(self, context: Context, job: SpokeJob, dry_run: bool = False) -> None:
        from ..spokes.config import SpokeConfig
        from ..spokes.regimes import regime_of
        from .datasets import load_dataset

        # Before any data is read, so that a mistake is told at once.
        self.config = parse_config(SpokeConfig, job.config, "spoke")
        self.dataset = load_dataset(
            context, job.domain, items=job.items, events=job.events, streaming=self.config.training
        )
        if self.dataset.event_snapshot is None:
            raise InvalidDataError(
                f"{job.domain} has no events to train on; ingest some, or serve the hub alone with `hubspoke launch`."
            )
        # Cut first: too few events are told before a version number is taken.
        test_from = datetime.fromisoformat(job.test_from) if job.test_from else None
        settings = SplitSettings(job.split, test_from)
        self.parts = split(self.dataset.source, settings, self.config)
        if job.parent is None:
            self.config = parse_config(SpokeConfig, regime_of(self.parts.train).fill(job.config), "spoke")
        if job.hub:
            hub: str | None = ready_model(context, job.hub, ModelKind.HUB).ref
        else:
            hub = Hubs(context).live() if dry_run else Hubs(context).ensure()
        items, events = self.dataset.item_snapshot.ref, self.dataset.event_snapshot.ref
        self.job = replace(job, config=self.config.model_dump(mode="json"), hub=hub, items=items, events=events)
        self.start = self._start(context, settings) if job.parent else None
        if self.start:
            self.parts = self.start.parts
        self._hub_artifact = context.registry.models.get(hub).artifact if hub else None
        self.kept = context.cache_dir / "training" / fingerprint([job.domain, self.recipe.fingerprint])

    def _start(self, context: Context, settings: SplitSettings) -> WarmStart:
        from ..spokes.config import SpokeConfig
        from ..spokes.training.warm_start import Common, require_same_shapes

        job = self.job
        record = ready_model(context, str(job.parent), ModelKind.SPOKE)
        spaces = [context.registry.models.get(job.hub).space_fingerprint if job.hub else None]
        spaces.append(context.registry.models.hub_of(record.ref).space_fingerprint)
        common = Common(same_hub=spaces[0] == spaces[1], same_domain=record.domain == job.domain)
        require_same_shapes(self.config, SpokeConfig.from_stored(record.config), record.ref, common)
        return warm_start(context, record, job.on, self.dataset, settings, self.config)

    @property
    def recipe(self) -> Recipe:
        """What tells this training from any other."""
        job, dataset = self.job, self.dataset
        inputs = {
            # The artifact and not the space: it also holds how the hub reads a session.
            "hub": self._hub_artifact,
            "items": dataset.item_snapshot.content_hash,
            "events": getattr(dataset.event_snapshot, "content_hash", None),
            "sessions": dict(dataset.domain.settings.get("sessions", {})),
            "split": [job.split, datetime.fromisoformat(job.test_from) if job.test_from else None, job.refit],
        }
        if self.start:
            inputs |= {"parent": self.start.record.artifact, "on": job.on}
        return Recipe(
            kind=ModelKind.SPOKE,
            domain=job.domain,
            config=self.config.model_dump(mode="json"),
            inputs=inputs,
            seed=self.config.seed,
        )

    def forget(self) -> None:
        """Remove the checkpoints of a training that is done with."""
        shutil.rmtree(self.kept, ignore_errors=True)


def train_spoke(context: Context, plan: SpokePlan, team: Leader | None = None) -> Trained:
    """Train what a plan says and hand over what is to be stored; with a team, the others train along."""
    from ..spokes.parts import spoke_parts

    job, parts, dataset, start = plan.job, plan.parts, plan.dataset, plan.start
    builder = SpokeBuilder(context, plan)
    if team:
        team.tell({"do": "choose", "job": job.to_json()})
    behaviour, mixture, run = builder.choose()
    if job.refit:
        if team:
            team.tell({"do": "refit", "epochs": run.best_epoch})
        behaviour = builder.refit(run.best_epoch)
    seen = parts.refit if job.refit else parts.train
    spoke = builder.spoke(behaviour, mixture, seen)
    summary = training_summary(spoke, run, parts, seen, plan.config) | {
        "split": {"name": job.split, "test_from": job.test_from, "refit": job.refit},
        "waterfall": dataset.waterfall,
        "held_out": held_out_fingerprint(dataset.source, dataset.items["item_id"].to_list())
        if job.split == "leave-one-out"
        else None,
    }
    parents = [
        Parent(builder.hub_ref, Relation.ADAPTED_FROM, "fusion", _adaptation(plan.config)),
        Parent(str(job.items), Relation.TRAINED_ON, "items"),
        Parent(str(job.events), Relation.TRAINED_ON, "events"),
    ]
    if start:
        summary |= builder.told(spoke)
        # Whatever its parent has seen counts as seen by it.
        summary["training_end"] = max(own for own in (summary["training_end"], start.newest) if own is not None)
        reason = f"on {job.on} events; took {', '.join(builder.taken.parts)}"
        parents.append(Parent(start.record.ref, Relation.WARM_STARTED_FROM, None, reason))
    if team:
        summary["processes"] = team.size
    made_of = spoke_parts(spoke, builder.hub)
    parents += [Parent(builder.hub_ref, Relation.INHERITS, p.name, p.inherited) for p in made_of if p.inherited]
    named = [model_part(part, builder.hub_ref) for part in made_of]
    return Trained(spoke.save, spoke.space_fingerprint, summary, parents, named, builder.seconds_before)


def _adaptation(config: SpokeConfig) -> str:
    if not config.content:
        return "no content is read"
    fusion = "LoRA on the base fusion" if config.adapter else "the base fusion as it is"
    return f"{fusion}; LoRA on the last layers of {' and '.join(config.heads)}" if config.heads else fusion


class SpokeBuilder:
    """Trains behavioural parts of one spoke and puts them beside its floor.

    Args:
        context: the workspace.
        plan: what is to be trained on what.
    """

    def __init__(self, context: Context, plan: SpokePlan) -> None:
        from ..hub.content import fit_content_space
        from ..spokes.spoke import floor_settings
        from ..spokes.training.warm_start import Taken

        prepare(context)
        self._context = context
        self._plan = plan
        self._config = plan.config
        self._dataset = plan.dataset
        self._parts = plan.parts
        self.hub_ref = str(plan.job.hub)
        self.hub, _ = load_hub(context, self.hub_ref)
        self._item_ids = plan.dataset.items["item_id"].to_list()
        self._encoded = encode_items(context, self.hub, plan.dataset, plan.config.content, plan.config.heads)
        self._space = fit_content_space(self.hub.fusion.fuse(self._encoded), self.hub.config)
        self._content = self._space.embed(self.hub.fusion.fuse(self._encoded))
        self._floor = floor_settings(self.hub.config)
        self._parent = load_parent(context, plan.start, plan.dataset) if plan.start else None
        self.taken = Taken((), 0)
        self.seconds_before = 0.0
        self._scores: dict[str, float] = {}

    def choose(self) -> tuple[Behaviour, Mixture, TrainingRun]:
        """Train with early stopping on validation, then choose the mixture there."""
        checked = self._parts.checkpoint_users(self._config)
        score = self._selection().checkpoint_score(checked)

        def quality(model: BehaviourModel, inputs: ItemInputs) -> float:
            vectors = model.item_vectors(inputs)
            return score(model.session_vectors(vectors, checked.histories) @ vectors.T)

        behaviour, inputs = self._behaviour(self._parts.train)
        if self._parent:
            theirs = self._parent.behaviour
            self._scores["before"] = quality(
                theirs.model, theirs.inputs(self._item_ids, self._parent.encoded, self._dataset.items)
            )
        run = self._fit(behaviour.model, inputs, lambda model: quality(model, inputs))
        return behaviour, self._mixture(behaviour, inputs), run

    def join_choice(self) -> None:
        """Take part in the training of `choose`, which another process leads."""
        behaviour, inputs = self._behaviour(self._parts.train)
        self._train(behaviour.model, inputs, 0, "training the spoke", validate=lambda model: 0.0)

    def refit(self, epochs: int) -> Behaviour:
        """Train from the start again, on training and validation events together, for the epochs chosen before."""
        behaviour, inputs = self._behaviour(self._parts.refit)
        self._train(behaviour.model, inputs, 1, "refitting the spoke", epochs=epochs)
        return behaviour

    def spoke(self, behaviour: Behaviour, mixture: Mixture, seen: SequenceSource) -> Spoke:
        """A behavioural part beside the floor, and what was taken lately of all that it has seen."""
        from ..spokes.features.trend import trend_of
        from ..spokes.spoke import Spoke

        trend = trend_of(seen, self._item_ids, mixture.spans)
        return Spoke(self.hub.fusion, self.hub.fingerprint, self._space, behaviour, mixture, trend)

    def told(self, spoke: Spoke) -> dict[str, Any]:
        """What the record of a version says of its parent, and of how far it has gone from there."""
        start, parent = self._plan.start, self._parent
        if start is None or parent is None:
            return {}
        known = spoke.behaviour.known_items if spoke.behaviour else ()
        about = {**start.about, "took": list(self.taken.parts), "ids_taken": self.taken.ids}
        about["ids_fresh"] = len(known) - self.taken.ids
        drift = measured_drift(parent, spoke, self._encoded, self._dataset, start)
        scores = {name: round(score, 5) for name, score in self._scores.items()}
        return {"warm_start": about, "drift": {**drift, "validation_ndcg@10": scores}}

    def _fit(self, model: BehaviourModel, inputs: ItemInputs, validate: Validate) -> TrainingRun:
        """Train with early stopping; a training that ends below what it started from its parent with counts as none."""
        if self._parent is None:
            return self._train(model, inputs, 0, "training the spoke", validate=validate)
        began = validate(model)
        weights = {name: weight.clone() for name, weight in model.state_dict().items()}
        run = self._train(model, inputs, 0, "training the spoke", validate=validate)
        if not run.best_score > began:
            model.load_state_dict(weights)
            run = replace(run, best_epoch=0, best_score=began)
        self._scores |= {"start": began, "after": run.best_score}
        return run

    def _train(
        self,
        model: BehaviourModel,
        inputs: ItemInputs,
        lesson: int,
        stage: str,
        validate: Validate | None = None,
        epochs: int | None = None,
    ) -> TrainingRun:
        from ..spokes.training.checkpoints import Checkpoints
        from ..spokes.training.loop import train_behaviour

        start, parts = self._plan.start, self._parts
        run = train_behaviour(
            model,
            inputs,
            start.lessons[lesson] if start else (parts.train, parts.refit)[lesson],
            self._config,
            validate=validate,
            epochs=epochs,
            progress=self._context.progress.stage(stage),
            checkpoints=Checkpoints(self._plan.kept / ("choice", "refit")[lesson]),
        )
        self.seconds_before += run.seconds_before
        return run

    def _behaviour(self, sequences: SequenceSource) -> tuple[Behaviour, ItemInputs]:
        """A behavioural part that is yet to be trained, and its inputs of the catalog."""
        from ..hub.adapters.adapted import adapt_encoders
        from ..hub.devices import pick_device, seed_everything
        from ..spokes.features.items import ItemFeatures
        from ..spokes.model import BehaviourModel
        from ..spokes.spoke import Behaviour
        from ..spokes.training.memory import refuse_beyond_device
        from .features import fit_features

        counts = sequences.item_counts()
        frequent = np.flatnonzero(counts >= self._config.min_item_count)
        known = tuple(self._item_ids[row] for row in frequent)
        parent = self._parent
        read = parent.behaviour.features if parent else None
        if parent and read and not parent.same_domain:
            # Names mean nothing in another domain; counts and rates mean the same everywhere.
            read = ItemFeatures(None, read.statistics)
        features = fit_features(self._context, self._dataset, self._config, sequences, self._parts.settings.until, read)
        device, fusion = pick_device(self._context.settings.device), self.hub.fusion
        columns = fusion.down.in_features + fusion.down.out_features + 2 * self._space.dimension
        refuse_beyond_device(self._config, len(known), len(self._item_ids), columns, device)
        seed_everything(self._config.seed)
        asked, layers = self._config.encoder_adapter, self._config.heads
        adapted = adapt_encoders(self.hub, layers, asked.rank, self._config.seed) if asked else None
        model = BehaviourModel(self._config, fusion, self._space, len(known), features, adapted)
        model = model.to(device)
        behaviour = Behaviour(self._config, model, known, features)
        inputs = behaviour.inputs(self._item_ids, self._encoded, self._dataset.items)
        if parent:
            self.taken = take_from(parent, behaviour, inputs, self.hub.fingerprint, self._dataset)
        return behaviour, inputs

    def _selection(self) -> Selection:
        from ..spokes.selection import CatalogContent, Selection

        return Selection(CatalogContent(self._content, self._space.text_rank), self._floor, self._parts.as_tested)

    @property
    def _spans(self) -> tuple[int, ...]:
        """The last days whose demand may be asked for; undated events have none."""
        from ..spokes.features.trend import SPANS, UNDATED_SPANS
        from .datasets import time_kind

        events = self._dataset.event_snapshot
        return SPANS if events is not None and time_kind(events) != "order" else UNDATED_SPANS

    def _mixture(self, behaviour: Behaviour, inputs: ItemInputs) -> Mixture:
        from ..spokes.features.trend import trend_scores
        from ..spokes.spoke import UNKNOWN_ID_ROW, id_rows

        cold = id_rows(self._item_ids, behaviour.known_items) == UNKNOWN_ID_ROW
        # A bonus for items that nothing tells apart would place all of them at once.
        cold &= self._config.tells_new_items_apart
        checked, model = self._parts.validation, behaviour.model
        items = model.item_vectors(inputs)
        sessions = model.session_vectors(items, checked.histories)
        trends = trend_scores(self._parts.train, self._spans)
        return self._selection().mixture(checked, sessions, items, cold, trends)


def training_summary(
    spoke: Spoke, run: TrainingRun, parts: Split, seen: SequenceSource, config: SpokeConfig
) -> dict[str, Any]:
    """What a training found, for the version's record."""
    from ..spokes.regimes import regime_of

    behaviour, checked = spoke.behaviour, parts.validation
    model = behaviour.model if behaviour else None
    return {
        "regime": regime_of(parts.train).name,
        "epochs": run.best_epoch,
        "validation_ndcg@10": round(run.best_score, 5),
        "validation_users": len(parts.checkpoint_users(config).users),
        "mixture_users": len(checked.users),
        "validation_filters_seen": checked.filter_seen,
        "mixture": spoke.mixture.model_dump(),
        "windows_per_second": round(run.windows_per_second),
        "history": list(run.history),
        "training_events": seen.n_events,
        "training_users": seen.n_users,
        "training_end": seen.newest,
        "items_with_id": len(behaviour.known_items) if behaviour else 0,
        "dimension": spoke.dimension,
        "parameters": {
            "trained": sum(p.numel() for p in model.parameters() if p.requires_grad) if model else 0,
            "ids": model.ids.weight.numel() if model else 0,
        },
    }
