"""What a spoke's training is: the job that was asked for, and the plan with its data, split and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import InvalidDataError, UsageError
from ..registry.kinds import ModelKind
from ..results import fingerprint
from ..spokes.config import SpokeConfig, without_retired
from ..spokes.regimes import deep_merge, regime_of
from ..spokes.training.splits import Split, SplitSettings, split
from ..spokes.transfer import FROM_SIBLING, Policy
from .context import Context
from .datasets import Dataset, load_dataset, require_sessions
from .hubs import Hubs
from .loading import ready_model, spoke_ref
from .models import Recipe, parse_config
from .warm_start import WarmStart, warm_start

# What a training from a parent may be on.
ON = ("all", "new")


@dataclass(frozen=True)
class SpokeJob:
    """What is to be trained on what."""

    domain: str
    hub: str | None = None  # version; None for the live one, made untrained from packaged weights where there is none
    # Keys of `SpokeConfig`; what is left open follows the parent, or the events' size and shape (`spokes.regimes`).
    config: Mapping[str, Any] | None = None
    items: str | None = None  # snapshot; None for the newest
    events: str | None = None
    split: str = "leave-one-out"  # what is kept out for testing, as in `SplitSettings`
    test_from: datetime | None = None
    refit: bool = False  # whether the validation events are trained on after the choice
    parent: str | None = None  # spoke version, of this domain or another, whose weights are trained on
    on: str = "all"  # with a parent: `all` events that the split lets be seen, or those that are `new` to it
    # What is inherited, as `Policy` writes it, and why, for the record; None inherits what the config reads of the hub,
    # and of a parent all that fits.
    transfer: str | None = None
    evidence: Mapping[str, Any] | None = None

    @property
    def kept_out(self) -> SplitSettings:
        """What the split keeps from the training."""
        return SplitSettings(self.split, self.test_from)

    def check(self) -> None:
        """Refuse a job that contradicts itself."""
        _ = self.kept_out
        if self.on not in ON:
            raise UsageError(f"There are no {self.on!r} events to train on; choose one of {', '.join(ON)}.")
        if self.on != "all" and self.parent is None:
            raise UsageError("Events are new to a parent only; name one with --from, or leave --on out.")


@dataclass(frozen=True)
class Plan:
    """A job with its data, split and checked, before anything is trained."""

    job: SpokeJob  # with all that was left open
    config: SpokeConfig
    dataset: Dataset
    split: Split
    start: WarmStart | None  # the parent, where one is trained on
    recipe: Recipe  # what tells this training from any other
    checkpoints: Path  # where a killed training goes on from


def plan_training(context: Context, job: SpokeJob, dry_run: bool = False) -> Plan:
    """Load and split a job's data, and settle what it leaves open; a dry run makes no hub where there is none."""
    job.check()
    parent = ready_model(context, spoke_ref(context, job.parent), ModelKind.SPOKE) if job.parent else None
    given = {"seed": context.settings.seed, **(job.config or {})}
    policy = Policy.parse(job.transfer) if job.transfer else None
    given = deep_merge(policy.config, given) if policy else given
    given = deep_merge(without_retired(parent.config), given) if parent else given
    # Before any data is read, so that a mistake is reported at once.
    config = parse_config(SpokeConfig, given, "spoke")
    dataset = load_dataset(context, job.domain, items=job.items, events=job.events, streaming=config.training)
    if dataset.event_snapshot is None:
        raise InvalidDataError(
            f"{job.domain} has no events to train on; ingest some, or serve the hub alone with `hubspoke launch`."
        )
    require_sessions(dataset)
    # Split before there is a version: too few events must not take a version number.
    parts = split(dataset.source, job.kept_out, config)
    if parent is None:
        config = parse_config(SpokeConfig, regime_of(parts.train).fill(given), "spoke")
    if job.hub:
        hub: str | None = ready_model(context, job.hub, ModelKind.HUB).ref
    else:
        hub = Hubs(context).live() if dry_run else Hubs(context).ensure()
    start = None
    if parent:
        start = warm_start(context, parent, hub, job.on, dataset, job.kept_out, config)
        parts = start.split
        if policy:
            taken = {part: part in policy for part in FROM_SIBLING}
            start = replace(start, common=replace(start.common, **taken))
    items, events, settled = dataset.item_snapshot, dataset.event_snapshot, config.model_dump(mode="json")
    inputs = {
        # The artifact and not the space: it also holds how the hub reads a session.
        "hub": context.registry.models.get(hub).artifact if hub else None,
        "items": items.content_hash,
        "events": events.content_hash,
        "sessions": dict(dataset.domain.settings.get("sessions", {})),
        "split": [job.split, job.test_from, job.refit],
    }
    if parent:
        inputs |= {"parent": parent.artifact, "on": job.on}
    if policy:
        inputs["transfer"] = [str(policy), (job.evidence or {}).get("fingerprint")]
    recipe = Recipe(ModelKind.SPOKE, job.domain, settled, inputs, config.seed)
    named = parent.ref if parent else None
    job = replace(job, config=settled, hub=hub, items=items.ref, events=events.ref, parent=named)
    kept = context.cache_dir / "training" / fingerprint([job.domain, recipe.fingerprint])
    return Plan(job, config, dataset, parts, start, recipe, kept)
