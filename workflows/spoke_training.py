"""How a spoke is trained: load, split, train, select the mixture on validation, refit, save. Top to bottom.

Under torchrun the first process does all of this and tells the others the job; they train along on their share of each
batch, choose nothing, and write nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..arrays import BoolArray, FloatArray
from ..catalog.streams import SequenceSource
from ..hub.adapters.adapted import adapt_encoders
from ..hub.content import fit_content_space
from ..hub.devices import pick_device, seed_everything
from ..hub.distributed import World, joined
from ..hub.parts import Part
from ..hub.threads import arithmetic_threads, threads_worth
from ..progress import Progress
from ..registry.kinds import Relation
from ..registry.records import Parent
from ..spokes.features.items import ItemFeatures, fit_features
from ..spokes.features.trend import SPANS, UNDATED_SPANS, trend_of, trend_scores
from ..spokes.mixture import Mixture
from ..spokes.model import BehaviourModel, ItemInputs
from ..spokes.parts import inherited_by, spoke_parts
from ..spokes.regimes import regime_of
from ..spokes.selection import CatalogContent, Selection
from ..spokes.spoke import UNKNOWN_ID_ROW, Behaviour, Spoke, floor_settings, fusion_of, id_rows
from ..spokes.training.loop import TrainingRun, Validate, train_behaviour
from ..spokes.training.memory import refuse_beyond_device
from ..spokes.training.splits import held_out_fingerprint
from ..spokes.training.stability import held
from ..spokes.training.warm_start import LoadedParent, Taken, measured_drift, take_over
from .context import Context
from .datasets import event_ranges, time_kind
from .loading import encode_items, load_hub
from .models import FOLLOWED, ModelResult, Trained, model_part, prepare, train_once
from .spoke_plan import Plan, SpokeJob, plan_training
from .warm_start import WarmStart, calibrated_items, kept_calibration, load_parent

CHECKPOINT_EPOCHS = 3
# What is told of a sibling's parts, by what was taken, and where they are named in lineage.
TAKEN = {"transformer": "transformer", "attributes encoder": "attribute encoder"}
SIBLING = "began with a sibling's weights"


def train_spoke(context: Context, job: SpokeJob, *, force: bool = False, dry_run: bool = False) -> ModelResult:
    """Train what a job says, unless the same was trained before; who trains along gets a result without a version."""
    with joined(context.settings.device) as world:
        if not world.leads:
            context.progress = Progress()
            while (shared := world.broadcast(None)) is not None:
                SpokeTraining(context, plan_training(context, shared), world).fit()
            return ModelResult(None, None, False, FOLLOWED, 0.0, {})
        plan = plan_training(context, job, dry_run)
        result = train_once(
            context,
            plan.recipe,
            lambda: _train(context, plan, world),
            checkpoints=plan.checkpoints,
            force=force,
            dry_run=dry_run,
        )
        world.broadcast(None)  # nothing is left to train along with
    return result


def _train(context: Context, plan: Plan, world: World) -> Trained:
    """Train what a plan says and hand over what is to be stored."""
    job = plan.job
    training = SpokeTraining(context, plan, world)
    world.broadcast(job)
    behaviour, mixture, run = training.fit()
    assert mixture is not None
    seen = plan.split.refit if job.refit else plan.split.train
    spoke = training.spoke(behaviour, mixture, seen)
    summary = _summary(plan, spoke, run, seen)
    if plan.start:
        summary |= training.about_parent(spoke)
        # Whatever its parent has seen counts as seen by it.
        summary["training_end"] = max(own for own in (summary["training_end"], plan.start.newest) if own is not None)
    summary["threads"] = training.threads
    if world.size > 1:
        summary["processes"] = world.size
    parts = spoke_parts(spoke, training.hub)
    parents, named = _parents(plan, training.taken, parts), [model_part(part, str(job.hub)) for part in parts]
    return Trained(spoke.save, spoke.space_fingerprint, summary, parents, named, training.seconds_before)


def _parents(plan: Plan, taken: Sequence[str], parts: Sequence[Part]) -> list[Parent]:
    """What a version was made from: its hub, its data, its parent, and the parts that are the hub's own."""
    job, config, hub = plan.job, plan.config, str(plan.job.hub)
    base = "base fusion" if config.hub_fusion else "identity"
    adaptation = f"LoRA on the {base}" if config.adapter else f"the {base} as it is"
    if config.heads:
        adaptation += f"; LoRA on the last layers of {' and '.join(config.heads)}"
    parents = [
        Parent(hub, Relation.ADAPTED_FROM, "fusion", adaptation if config.content else "no content is read"),
        Parent(str(job.items), Relation.TRAINED_ON, "items"),
        Parent(str(job.events), Relation.TRAINED_ON, "events"),
    ]
    if plan.start:
        reason = f"on {job.on} events; took {', '.join(taken)}"
        parents.append(Parent(plan.start.record.ref, Relation.WARM_STARTED_FROM, None, reason))
    verdicts = {own["part"]: own["verdict"] for own in (job.evidence or {}).get("parts", ())}

    def inherited(ref: str, name: str, reason: str) -> Parent:
        told = verdicts.get(inherited_by(name))
        return Parent(ref, Relation.INHERITS, name, f"{reason}; {told}" if told else reason)

    if plan.start and job.transfer:
        ref = plan.start.record.ref
        parents += [inherited(ref, name, SIBLING) for own, name in TAKEN.items() if own in taken]
    return parents + [inherited(hub, part.name, part.inherited) for part in parts if part.inherited]


def _summary(plan: Plan, spoke: Spoke, run: TrainingRun, seen: SequenceSource) -> dict[str, Any]:
    """What a training found, for the version's record."""
    job, parts, behaviour, item_ids = plan.job, plan.split, spoke.behaviour, plan.dataset.items["item_id"].to_list()
    assert behaviour is not None
    trained = sum(p.numel() for p in behaviour.model.parameters() if p.requires_grad)
    tested = held_out_fingerprint(plan.dataset.source, item_ids) if job.split == "leave-one-out" else None
    return {
        "regime": regime_of(parts.train).name,
        "epochs": run.best_epoch,
        "validation_ndcg@10": round(run.best_score, 5),
        "validation_users": len(parts.checkpoint_users(plan.config).users),
        "mixture_users": len(parts.validation.users),
        "validation_filters_seen": parts.validation.filter_seen,
        "mixture": spoke.mixture.model_dump(),
        "windows_per_second": round(run.windows_per_second),
        "history": list(run.history),
        "training_events": seen.n_events,
        "training_users": seen.n_users,
        "training_end": seen.newest,
        "items_with_id": len(behaviour.known_items),
        "dimension": spoke.dimension,
        "parameters": {"trained": trained, "ids": behaviour.model.ids.weight.numel()},
        "split": {
            "name": job.split,
            "test_from": job.test_from.isoformat() if job.test_from else None,
            "refit": job.refit,
        },
        "waterfall": plan.dataset.waterfall,
        "held_out": tested,
        **({"transfer": {"policy": job.transfer, **(job.evidence or {})}} if job.transfer else {}),
    }


class SpokeTraining:
    """One training in memory: the hub over the catalog, and the behavioural part that is trained beside its floor."""

    def __init__(self, context: Context, plan: Plan, world: World) -> None:
        prepare(context)
        self._context, self._plan, self._world = context, plan, world
        self._config, self._dataset = plan.config, plan.dataset
        self.hub, _ = load_hub(context, str(plan.job.hub))
        self.item_ids: list[str] = plan.dataset.items["item_id"].to_list()
        self._encoded = encode_items(context, self.hub, plan.dataset, plan.config.content, plan.config.heads)
        self._fusion = fusion_of(self.hub, plan.config)
        fused = self._fusion.fuse(self._encoded)
        self._space, self._calibrated_items = fit_content_space(fused, self.hub.config), len(self.item_ids)
        self._parent: LoadedParent | None = None
        if plan.start:
            self._go_on_from(plan.start)
        content = CatalogContent(self._space.embed(fused), self._space)  # (N, R)
        settings = floor_settings(self.hub, self._space, plan.config.hub_scorer)
        self._selection = Selection(content, settings, plan.split.as_tested)
        self._taken = Taken()
        self.seconds_before = 0.0  # of earlier processes that were killed, up to where this one went on
        self.threads = 0  # of arithmetic, in the process that this is
        self._scores: dict[str, float] = {}

    def _go_on_from(self, start: WarmStart) -> None:
        """Load the parent, and keep its calibration where that serves."""
        self._parent = load_parent(self._context, start, self._dataset)
        kept = kept_calibration(start, self._parent, self._config, self._space, len(self.item_ids))
        if kept is not None:
            self._space, self._calibrated_items = kept, calibrated_items(start)

    @property
    def taken(self) -> tuple[str, ...]:
        """What was taken from the parent, in words."""
        return self._taken.parts

    def fit(self) -> tuple[Behaviour, Mixture | None, TrainingRun]:
        """Train with early stopping on validation, choose the mixture there, and refit where that is asked for.

        The mixture is None in a process that does not lead.
        """
        self.threads = threads_worth(self._config.step_work, self._context.settings.threads)
        with arithmetic_threads(self.threads):
            return self._fit()

    def _fit(self) -> tuple[Behaviour, Mixture | None, TrainingRun]:
        start, parts, leads = self._plan.start, self._plan.split, self._world.leads
        before, after = start.events if start else (parts.train, parts.refit)
        quality = self._checkpoint_quality() if leads else None
        behaviour, inputs = self._untrained(parts.train)
        if quality and self._parent:
            self._scores["before"] = quality(self._parent.behaviour.model, self._parent.inputs)

        def validate(model: BehaviourModel) -> float:
            return quality(model, inputs) if quality else 0.0  # who does not lead is told by the first process

        run = self._train_best(behaviour.model, inputs, before, validate)
        mixture = self._choose_mixture(behaviour, inputs) if leads else None
        if self._plan.job.refit:
            # From the start again, on training and validation events together, for the epochs that were chosen.
            epochs = self._world.broadcast(run.best_epoch)
            behaviour, inputs = self._untrained(parts.refit)
            self._train(behaviour.model, inputs, after, "refit", epochs=epochs)
        return behaviour, mixture, run

    def spoke(self, behaviour: Behaviour, mixture: Mixture, seen: SequenceSource) -> Spoke:
        """A behavioural part beside the floor, and what was taken lately of all that it has seen."""
        trend = trend_of(seen, self.item_ids, mixture.spans)
        return Spoke(self._fusion, self.hub.fingerprint, self._space, behaviour, mixture, trend)

    def vectors(self, spoke: Spoke) -> FloatArray:
        """(N, D) item vectors of a spoke over the training's catalog."""
        return spoke.embed_items(self.item_ids, self._encoded, self._dataset.items)

    def about_parent(self, spoke: Spoke) -> dict[str, Any]:
        """What the record of a version says of its parent, and of how far it has gone from there."""
        start, parent = self._plan.start, self._parent
        assert start is not None and parent is not None and spoke.behaviour is not None
        fresh = len(spoke.behaviour.known_items) - self._taken.ids
        about = {
            "parent": start.record.ref,
            "on": self._plan.job.on,
            "events": start.events[0].n_events,
            "new_events": start.new_events,
            "validation_left_out": start.left_out,
            "took": list(self.taken),
            "ids_taken": self._taken.ids,
            "ids_fresh": fresh,
            "calibrated_items": self._calibrated_items,
        }
        drift = measured_drift(spoke, self.vectors(spoke), parent, self._known_to(start), start.split.validation)
        scores = {name: round(score, 5) for name, score in self._scores.items()}
        return {"warm_start": about, "drift": {**drift, "validation_ndcg@10": scores}}

    def _known_to(self, start: WarmStart) -> BoolArray:
        """(N,) items that the parent was trained on."""
        return np.array([item in start.items for item in self.item_ids], np.bool_)

    def _untrained(self, seen: SequenceSource) -> tuple[Behaviour, ItemInputs]:
        """A behavioural part that is yet to be trained on what it may see, and its inputs of the catalog."""
        config, parent, fusion = self._config, self._parent, self._fusion
        known = tuple(self.item_ids[row] for row in np.flatnonzero(seen.item_counts() >= config.min_item_count))
        features = self._features(seen)
        device = pick_device(self._context.settings.device)
        columns = fusion.down.in_features + fusion.down.out_features + 2 * self._space.fused.dimension
        refuse_beyond_device(config, len(known), len(self.item_ids), columns, device)
        seed_everything(config.seed)
        asked = config.encoder_adapter
        encoders = adapt_encoders(self.hub, config.heads, asked.rank, config.seed) if asked else None
        model = BehaviourModel(config, fusion, self._space, len(known), features, encoders).to(device)
        behaviour = Behaviour(config, model, known, features)
        inputs = behaviour.inputs(self.item_ids, self._encoded, self._dataset.items)
        if parent:
            self._taken = take_over(behaviour, inputs, parent.behaviour, parent.inputs, parent.common)
        return behaviour, inputs

    def _features(self, seen: SequenceSource) -> ItemFeatures:
        parent = self._parent
        kept = parent.behaviour.features if parent else None
        if parent and kept and not parent.common.same_domain:
            # Names mean nothing in another domain, unless they are to; counts and rates mean the same everywhere.
            taken = parent.common
            kept = ItemFeatures(
                kept.vocabulary if taken.attributes else None, kept.statistics if taken.behaviour else None
            )
        return fit_features(
            self._config,
            self._dataset.items,
            seen,
            event_ranges(self._context, self._dataset),
            until=self._plan.job.kept_out.until,
            dated=self._dated,
            parent=kept,
        )

    @property
    def _dated(self) -> bool:
        """Whether events have times, or only an order."""
        events = self._dataset.event_snapshot
        return events is not None and time_kind(events) != "order"

    def _train_best(
        self, model: BehaviourModel, inputs: ItemInputs, events: SequenceSource, validate: Validate
    ) -> TrainingRun:
        """Train with early stopping; a training that ends below what it started from its parent with counts as none."""
        if self._parent is None:
            return self._train(model, inputs, events, "choice", validate=validate)
        began = validate(model)
        weights = {name: weight.clone() for name, weight in model.state_dict().items()}
        run = self._train(model, inputs, events, "choice", validate=validate)
        if not run.best_score > began:
            model.load_state_dict(weights)
            run = replace(run, best_epoch=0, best_score=began)
        self._scores |= {"start": began, "after": run.best_score}
        return run

    def _train(
        self,
        model: BehaviourModel,
        inputs: ItemInputs,
        events: SequenceSource,
        step: str,
        validate: Validate | None = None,
        epochs: int | None = None,
    ) -> TrainingRun:
        stage, hold = {"choice": "training the spoke", "refit": "refitting the spoke"}[step], None
        if (start := self._plan.start) and self._parent:
            hold = held(model, inputs, self._parent, self._taken, self._known_to(start), start.seen, self._config)
        run = train_behaviour(
            model,
            inputs,
            events,
            self._config,
            hold=hold,
            validate=validate,
            epochs=epochs,
            progress=self._context.progress.stage(stage),
            checkpoints=self._context.checkpoints(self._plan.checkpoints / step, CHECKPOINT_EPOCHS),
        )
        self.seconds_before += run.seconds_before
        return run

    def _checkpoint_quality(self) -> Any:
        """From a model and its inputs to what checkpoints are compared by."""
        users = self._plan.split.checkpoint_users(self._config)
        score = self._selection.checkpoint_score(users)

        def quality(model: BehaviourModel, inputs: ItemInputs) -> float:
            vectors = model.item_vectors(inputs)
            return score(model.session_vectors(vectors, users.histories) @ vectors.T)

        return quality

    def _choose_mixture(self, behaviour: Behaviour, inputs: ItemInputs) -> Mixture:
        users, model = self._plan.split.validation, behaviour.model
        cold = id_rows(self.item_ids, behaviour.known_items) == UNKNOWN_ID_ROW
        # A bonus for items that nothing tells apart would place all of them at once.
        cold &= self._config.tells_new_items_apart
        items = model.item_vectors(inputs)  # (N, D)
        sessions = model.session_vectors(items, users.histories)  # (U, D)
        trends = trend_scores(self._plan.split.train, SPANS if self._dated else UNDATED_SPANS)
        return self._selection.mixture(users, sessions, items, cold, trends)
