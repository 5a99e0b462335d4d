"""How a hub is trained: stage by stage on all categories, kept as far as it helps categories that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..catalog.sequences import co_engaged_pairs
from ..errors import UsageError
from ..evaluation.protocols import Protocol, leave_one_out, training_mask
from ..files import atomic_folder
from ..hub.config import HubConfig
from ..hub.content import fit_content_space
from ..hub.devices import seed_everything
from ..hub.distributed import World
from ..hub.encoders.own import IMAGE_FOLDER, TEXT_FOLDER, write_own_image, write_own_text
from ..hub.encoders.text import item_texts
from ..hub.model import Hub
from ..hub.parts import hub_parts
from ..hub.training.contrastive import ContrastiveDomain
from ..hub.warm_start import take_over
from ..registry.kinds import Relation
from ..registry.records import Parent
from ..results import fingerprint
from ..spokes.training.validation import validation
from .datasets import Dataset, load_dataset
from .hub_stages.base import Category
from .hub_stages.encoders import EncoderStage
from .hub_stages.fusion import FusionStage, of_fusion
from .hub_stages.pictures import worth_of_pictures
from .hub_stages.reading import ReadingStage
from .hub_warm_start import HubParent, load_hub_parent
from .loading import encode_items
from .models import Trained, model_part, prepare

if TYPE_CHECKING:
    from .context import Context

# Shoppers of a category that a share is judged by: their mean NDCG@10 is certain to about 0.01, and all
# shares of all categories are ranked in minutes.
JUDGED_USERS = 2000
# From where encoders of one's own pay: below, packaged ones know more of language than a catalog can teach.
ENOUGH_PRODUCTS, ENOUGH_SESSIONS = 500_000, 50_000_000


@dataclass(frozen=True)
class HubJob:
    """What a hub is trained on, as the first of several processes tells the others."""

    config: HubConfig
    snapshots: Sequence[tuple[str, str, str | None]]  # domain, items and events of each category
    checkpoints: Path  # where a killed training goes on from
    own_encoders: Path | None  # folder of encoders that are trained from scratch
    parent: str | None  # version whose weights are trained on


def train_hub(
    context: Context,
    config: HubConfig,
    datasets: Sequence[Dataset],
    held_out: str | None,
    checkpoints: Path,
    parent_ref: str | None = None,
    world: World | None = None,
) -> Trained:
    """Train stage by stage, choose how much of each to keep, and hand over what is to be stored."""
    prepare(context)
    seed_everything(config.seed)
    world = world or World()
    own_encoders = None
    if not parent_ref:
        own_encoders = begin_own_encoders(context, config, [own for own in datasets if own.domain.name != held_out])
    job = HubJob(config, [_snapshots(dataset) for dataset in datasets], checkpoints, own_encoders, parent_ref)
    world.broadcast(job)
    parent = load_hub_parent(context, parent_ref) if parent_ref else None
    hub = starting_hub(context, job, parent)
    categories = [category_of(context, hub, dataset, world, parent) for dataset in datasets]
    begun = categories
    encoders = EncoderStage(context, hub, checkpoints, world).kept(categories, held_out)
    world.broadcast(None)  # the other stages take seconds
    context.check_locks()
    if encoders.part:
        hub.replace_encoders(encoders.part)
        categories = [category_of(context, hub, dataset, parent=parent) for dataset in datasets]
    fusion = FusionStage(context, hub).kept(categories, held_out)
    context.check_locks()
    hub.fusion = fusion.part
    reading = ReadingStage(context, hub, categories).kept(categories, held_out)
    hub.reading = reading.part if reading.share else hub.reading
    judges = [category for category in categories if held_out in (None, category.name)]
    pictures, of_pictures = worth_of_pictures(hub, judges)
    losses = fusion.losses
    summary = {
        "domains": [category.name for category in categories],
        "items": sum(len(category.encoded) for category in categories),
        "kept_encoders": encoders.share,
        "kept_share": fusion.share,
        "kept_reading": reading.share,
        "final_loss": round(sum(losses[-20:]) / len(losses[-20:]), 4) if losses else None,
        "parameters": sum(p.numel() for p in hub.fusion.parameters()),
        "encoders": hub.encoder_fingerprints,
        "reading": _told(hub, reading.share, parent),
        **(parent.told(hub, begun, categories) if parent else {}),
        "table": encoders.table + fusion.table + reading.table + of_pictures,
    }
    if pictures:
        summary["pictures"] = pictures
    if world.size > 1:
        summary["processes"] = world.size
    snapshots = [own for dataset in datasets for own in (dataset.item_snapshot, dataset.event_snapshot) if own]
    parents = [Parent(snapshot.ref, Relation.TRAINED_ON, snapshot.kind) for snapshot in snapshots]
    parents += [Parent(parent.record.ref, Relation.WARM_STARTED_FROM)] if parent else []
    return Trained(hub.save, hub.fingerprint, summary, parents, [model_part(part) for part in hub_parts(hub)])


def starting_hub(context: Context, job: HubJob, parent: HubParent | None) -> Hub:
    """The hub as its training begins: its encoders alone, or what the parent has learned."""
    own_encoders = parent.hub.own_encoders if parent else job.own_encoders
    hub = Hub(job.config, device=context.settings.device, own_encoders=own_encoders)
    if parent:
        take_over(hub, parent.hub)
    return hub


def follow_hub(context: Context, job: HubJob, world: World) -> None:
    """Train along with the first process, and write nothing."""
    prepare(context)
    seed_everything(job.config.seed)
    hub = starting_hub(context, job, load_hub_parent(context, job.parent) if job.parent else None)
    datasets = [load_dataset(context, name, items=items, events=events) for name, items, events in job.snapshots]
    categories = [category_of(context, hub, dataset, world) for dataset in datasets]
    EncoderStage(context, hub, job.checkpoints, world).follow(categories)


def begin_own_encoders(context: Context, config: HubConfig, datasets: Sequence[Dataset]) -> Path | None:
    """The folder in which encoders that are trained from scratch begin, made where it is not there yet; else None."""
    if config.own_encoders is None:
        return None
    if not datasets:
        raise UsageError("Encoders cannot be trained from scratch on no domain; name some with --domains.")
    products, sessions = (sum(own) for own in zip(*((d.items.height, len(d.sequences)) for d in datasets), strict=True))
    if products < ENOUGH_PRODUCTS or sessions < ENOUGH_SESSIONS:
        context.progress.note(
            f"{products:,} products and {sessions:,} sessions are few to train encoders on from scratch, which pays "
            f"from about {ENOUGH_PRODUCTS:,} and {ENOUGH_SESSIONS:,}; without --from-scratch packaged ones are taken."
        )
    made_of = [dataset.item_snapshot.content_hash for dataset in datasets]
    shape = config.own_encoders.model_dump(), config.text_fields, config.seed
    folder = context.cache_dir / "own-encoders" / fingerprint([made_of, *shape])
    if not folder.exists():
        texts = (text for dataset in datasets for text in item_texts(dataset.items, config.text_fields))
        with atomic_folder(folder) as unfinished:
            write_own_text(unfinished / TEXT_FOLDER, texts, config.own_encoders, config.seed)
            write_own_image(unfinished / IMAGE_FOLDER, config.own_encoders, config.seed)
    return folder


def _snapshots(dataset: Dataset) -> tuple[str, str, str | None]:
    events = dataset.event_snapshot
    return dataset.domain.name, dataset.item_snapshot.ref, events.ref if events else None


def _told(hub: Hub, learned: float, parent: HubParent | None) -> dict[str, Any]:
    """How a hub reads a session, for the record."""
    if hub.reading is None:
        return {"is": f"each event weighs {hub.config.recency_decay:g} of the next, {hub.config.recent_events} count"}
    lags = {name: [round(own, 3) for own in weights] for name, weights in hub.reading.lags.items()}
    came_from = "learned on its domains" if learned else f"{parent.record.ref}'s" if parent else "the package's"
    return {"is": came_from, **lags, "crowding": round(hub.reading.crowding, 3)}


def category_of(
    context: Context, hub: Hub, dataset: Dataset, world: World | None = None, parent: HubParent | None = None
) -> Category:
    """A category as the stages take it: encoded, with the pairs and the judges of its sessions.

    The items that the parent was trained on are to stay where it has them.
    """
    if world and world.size > 1:
        # Each encodes a share, and finds the others' in the cache.
        own = np.flatnonzero(world.own(dataset.items.height)).tolist()
        encode_items(context, hub, replace(dataset, items=dataset.items[own]))
        world.gather(None)
    encoded = encode_items(context, hub, dataset)
    fusible = replace(encoded, blocks={})
    space = fit_content_space(hub.fusion.fuse(fusible), of_fusion(hub.config))
    seen = dataset.sequences.keep_events(training_mask(dataset.sequences, Protocol()))
    pairs = co_engaged_pairs(seen, hub.config.contrastive.window)
    users, judges = leave_one_out(dataset.sequences, "validation"), None
    if len(users):
        drawn = validation(users, seen, JUDGED_USERS, hub.config.seed)
        judges = drawn.sample(JUDGED_USERS, hub.config.seed)
    anchored = parent.rows(dataset) if parent else np.zeros(0, np.int64)
    return Category(dataset, encoded, seen, ContrastiveDomain(fusible, space, pairs, anchored), judges)
