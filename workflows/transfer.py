"""What a spoke inherits, decided by evidence: candidates are tried part by part on validation, and the audit is kept.

From nothing on, each part in turn is tried on top of what was taken before, by short trainings. What is expected to
help stays unless it hurts, anything else has to help.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import HubspokeError, UsageError
from ..registry.kinds import ModelKind, Relation
from ..registry.records import Parent
from ..results import fingerprint
from ..spokes.parts import spoke_parts
from ..spokes.regimes import deep_merge
from ..spokes.transfer import AUTO, DECIDED, FULL, Policy
from .hubs import Hubs
from .loading import encode_items, load_hub, ready_model, spoke_ref
from .models import ModelResult, Recipe, Trained, model_part, prepare, train_once
from .similarity import similar_domains
from .spoke_plan import SpokeJob, plan_training
from .targets import live_release
from .transfer_trials import TRIED, Trial, audit_of, part_by_part, try_policy

if TYPE_CHECKING:
    from ..registry.records import ModelRecord
    from .context import Context
    from .similarity import SimilarDomains

# Share of a training's epochs that a trial has; its learning rate has come down by then.
TRIAL_SHARE = 0.3
# What is taken unless it hurts: language means the same everywhere, and so does how sessions are read. Pictures are
# among them where they helped categories that look alike; behaviour never is.
EXPECTED = frozenset({"text", "fusion", "scorer"})
# Audits of categories that look most alike, at most, that pictures are expected to help by.
LOOKALIKES = 3
PRIOR = "what is expected, for want of events"


@dataclass(frozen=True)
class Inheritance:
    """What a category can inherit."""

    available: Policy
    expected: frozenset[str]  # to help
    sibling: str | None  # the spoke that attributes and behaviour would come from
    because: str  # what the expectation of pictures rests on


def settle(context: Context, job: SpokeJob, dry_run: bool = False) -> SpokeJob:
    """The job with a policy in parts and the sibling that it needs; `auto` has chosen, and brings its audit."""
    if job.transfer is None:
        return job
    if decided := sorted({*DECIDED} & {*(job.config or {})}):
        raise UsageError(f"{decided[0]} is decided by --transfer {job.transfer}; leave one of the two out.")
    if job.transfer not in (AUTO, FULL):
        return _asked_for(context, job, Policy.parse(job.transfer))
    if job.transfer == AUTO and not _has_events(context, job):
        known = inheritance(context, job, dry_run)
        return replace(job, transfer=str(_prior(known)), parent=None, evidence={**_expectation(known), "by": PRIOR})
    if job.transfer == AUTO and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            "Policies are tried by one process; choose one with --transfer auto, then name it under torchrun."
        )
    known = inheritance(context, job, dry_run)
    if job.transfer == FULL:
        return _asked_for(context, replace(job, parent=known.sibling), known.available)
    return _chosen(context, job, known, dry_run)


def _asked_for(context: Context, job: SpokeJob, policy: Policy) -> SpokeJob:
    """The job under a policy that somebody asked for."""
    if job.parent and not policy.from_sibling:
        raise UsageError(
            f"Nothing of {job.parent} is inherited by --transfer {policy}; name behaviour or attributes too, or leave "
            "--from out."
        )
    parent = job.parent
    if policy.from_sibling:
        parent = parent or _sibling(context, similar_domains(context, job.domain), policy)
        if parent is None:
            raise UsageError(
                f"No other category has a spoke to inherit {' and '.join(policy.from_sibling)} from; train one there, "
                "or leave that out."
            )
        _refuse_no_sibling(context, job.domain, parent, policy)
    return replace(job, transfer=str(policy), parent=parent, evidence={"chosen": "asked for", "sibling": parent})


def _refuse_no_sibling(context: Context, domain: str, ref: str, policy: Policy) -> None:
    record = ready_model(context, spoke_ref(context, ref), ModelKind.SPOKE)
    if record.domain == domain:
        raise UsageError(f"{record.ref} is of {domain} itself; name another category's spoke, or leave --transfer out.")
    if "attributes" in policy and record.config.get("attributes") is None:
        raise UsageError(f"{record.ref} reads no attributes; name a spoke that does, or leave attributes out.")


def inheritance(context: Context, job: SpokeJob, dry_run: bool = False) -> Inheritance:
    """What a job's category can inherit from its hub and from the categories that it is like."""
    from .datasets import load_dataset

    if dry_run and not (job.hub or Hubs(context).live()):
        return Inheritance(Policy.of(["text"]), EXPECTED, None, "no hub yet")
    hub, _ = load_hub(context, job.hub or Hubs(context).ensure())
    encoded = encode_items(context, hub, load_dataset(context, job.domain, items=job.items, with_events=False))
    alike = similar_domains(context, job.domain)
    found = {
        "text": bool(encoded.has_text.any()),
        "image": bool(encoded.has_image.any()),
        "fusion": bool(hub.fusion.up.weight.any()),
        "scorer": hub.reading is not None,
    }
    content = found["text"] or found["image"]
    parts = [part for part, there in found.items() if there and (content or part in ("text", "image"))]
    sibling = job.parent or _sibling(context, alike, Policy.of(["behaviour"]))
    if sibling and (why := _unfit(context, job, sibling)):
        context.progress.note(f"nothing is inherited from {sibling}: {why}")
        sibling = None
    pictures, because = _expect_pictures(context, alike)
    expected = EXPECTED | ({"image"} if pictures else set())
    return Inheritance(Policy.of([*parts, *(["behaviour"] if sibling else [])]), expected, sibling, because)


def _unfit(context: Context, job: SpokeJob, sibling: str) -> str:
    """Why a sibling's behaviour cannot be trained on, in words; nothing where it can."""
    try:
        plan_training(context, replace(job, transfer="text+behaviour", parent=sibling))
    except HubspokeError as error:
        return str(error)
    return ""


def _sibling(context: Context, alike: SimilarDomains, policy: Policy) -> str | None:
    """The spoke of the most similar category that has what is asked for: the one that serves there, else its newest."""
    for other in alike.similar:
        for record in reversed(_spokes(context, other.domain)):
            has_attributes = record.config.get("attributes") is not None
            if has_attributes or "attributes" not in policy:
                return record.ref
    return None


def _spokes(context: Context, domain: str) -> list[ModelRecord]:
    """The trained spokes of a category, the one that serves last."""
    registry = context.registry
    ready = [own for own in registry.models.list(ModelKind.SPOKE, domain, "ready") if own.config.get("transformer")]
    live = live_release(registry, domain)
    served = live.spoke if live else None
    return sorted(ready, key=lambda own: (own.ref == served, own.version))


def _expect_pictures(context: Context, alike: SimilarDomains) -> tuple[bool, str]:
    """Whether pictures helped the audited categories that look most alike, and how that is told."""
    looks = sorted((own for own in alike.similar if own.vision is not None), key=lambda own: -float(own.vision or 0.0))
    told = []
    for other in looks:
        rows = [
            row["all"]["difference"]
            for record in _spokes(context, other.domain)[-1:]
            for row in record.summary.get("transfer", {}).get("parts", ())
            if row["part"] == "image" and row.get("all")
        ]
        told += [(other.domain, rows[-1])] if rows else []
    told = told[:LOOKALIKES]
    if not told:
        return False, "no audit of a category that looks alike"
    mean = sum(change for _, change in told) / len(told)
    return mean > 0, f"pictures changed NDCG@10 by {mean:+.4f} in {', '.join(name for name, _ in told)}"


def _chosen(context: Context, job: SpokeJob, known: Inheritance, dry_run: bool) -> SpokeJob:
    """The job under the policy that validation speaks for, with the audit."""
    plain = plan_training(context, replace(job, transfer=None, parent=None), dry_run)
    epochs = max(1, math.ceil(TRIAL_SHARE * plain.config.training.max_epochs))
    steps = len([part for part in TRIED if part in known.available])
    context.progress.note(
        f"--transfer auto: {steps + 1} to {steps + 2} trainings of at most {epochs} epochs on "
        f"{plain.split.train.n_events:,} events, then the chosen one of {plain.config.training.max_epochs}"
    )
    base = {**_expectation(known), "by": "validation"}
    if dry_run:
        tried = {"planned_trials": steps + 1, "epochs_each": epochs, "available": str(known.available)}
        return replace(job, transfer=str(_prior(known)), parent=None, evidence={**base, **tried})

    def try_out(policy: Policy) -> Trial:
        short = deep_merge(job.config or {}, {"training": {"max_epochs": epochs}})
        parent = known.sibling if policy.from_sibling else None
        return try_policy(context, replace(job, config=short, transfer=str(policy), parent=parent, refit=False), policy)

    outcome = part_by_part(try_out, known.available, known.expected)
    chosen = outcome.chosen.policy
    made_of = fingerprint([own.fingerprint for own in outcome.trials])
    evidence = {**base, **audit_of(outcome, known.available), "fingerprint": made_of}
    return replace(job, transfer=str(chosen), parent=known.sibling if chosen.from_sibling else None, evidence=evidence)


def _expectation(known: Inheritance) -> dict[str, Any]:
    """What was expected before anything was tried, for the record."""
    told = {"expected": sorted(known.expected), "pictures": known.because, "sibling": known.sibling}
    return {"chosen": AUTO, **told}


def _has_events(context: Context, job: SpokeJob) -> bool:
    from .datasets import find_snapshot

    return find_snapshot(context, job.domain, "events", job.events) is not None


def train_unseen(context: Context, job: SpokeJob, *, force: bool = False, dry_run: bool = False) -> ModelResult:
    """A spoke of a category without events: the launch floor, of what is expected to help; behaviour comes later."""
    from ..hub.content import fit_content_space
    from ..spokes.mixture import floor_mixture
    from ..spokes.spoke import Spoke, floor_settings
    from .datasets import load_dataset

    prepare(context)
    policy = Policy.parse(str(job.transfer))
    dataset = load_dataset(context, job.domain, items=job.items, with_events=False)
    hub, record = load_hub(context, job.hub or Hubs(context).ensure())
    config, items = policy.config, dataset.item_snapshot

    def train() -> Trained:
        encoded = encode_items(context, hub, dataset, config["content"])
        space = fit_content_space(hub.fusion.fuse(encoded), hub.config).only(config["content"])
        mixture = floor_mixture(*floor_settings(hub, space, config["hub_scorer"]))
        spoke = Spoke(hub.fusion, hub.fingerprint, space, None, mixture)
        parts = spoke_parts(spoke, hub)
        parents = [
            Parent(record.ref, Relation.ADAPTED_FROM, "fusion", "the base fusion as it is"),
            Parent(items.ref, Relation.TRAINED_ON, "items"),
            *(Parent(record.ref, Relation.INHERITS, own.name, own.inherited) for own in parts if own.inherited),
        ]
        summary = {"transfer": {"policy": str(policy), **(job.evidence or {})}, "dimension": spoke.dimension}
        named = [model_part(own, record.ref) for own in parts]
        return Trained(spoke.save, spoke.space_fingerprint, summary, parents, named)

    inputs = {"hub": record.artifact, "items": items.content_hash, "transfer": str(policy)}
    recipe = Recipe(ModelKind.SPOKE, job.domain, config, inputs, context.settings.seed)
    return train_once(context, recipe, train, force=force, dry_run=dry_run)


def _prior(known: Inheritance) -> Policy:
    """What is expected to help of what there is; without content there is nothing to fuse and to read."""
    parts = {part for part in known.available.parts if part in known.expected}
    return Policy.of(parts if parts & {"text", "image"} else ())
