"""Models and what they read, loaded: hubs, spokes on their hub, and what a hub's encoders make of a catalog."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from ..errors import InvalidDataError, UsageError
from ..registry.kinds import ModelKind, with_article
from ..registry.records import ModelRecord

if TYPE_CHECKING:
    from ..hub.fusion import EncodedItems
    from ..hub.model import Hub
    from ..spokes.spoke import Spoke
    from .context import Context
    from .datasets import Dataset


def ready_model(context: Context, ref: str, kind: ModelKind) -> ModelRecord:
    """The finished version of this kind that `ref` names."""
    record = context.registry.models.get(ref)
    if record.kind != kind:
        example = "hub:1" if kind == ModelKind.HUB else "garden:1"
        raise UsageError(f"{ref} is {with_article(record.kind)}, not {with_article(kind)}; name one like {example}.")
    if record.artifact is None:
        raise UsageError(f"{record.ref} is {record.status}, not ready; repeat its training.")
    return record


def spoke_ref(context: Context, ref: str) -> str:
    """The spoke version behind a reference; a domain, alias or release stands for the spoke that it serves."""
    node = context.registry.resolve(ref)
    if node.kind != "release":
        return node.ref
    release = context.registry.releases.get(node.ref)
    if release.spoke is None:
        domain = release.domain
        raise UsageError(f"In {release.ref} the hub alone serves; train one with `hubspoke spoke train {domain}`.")
    return release.spoke


def load_hub(context: Context, ref: str) -> tuple[Hub, ModelRecord]:
    """A stored hub version, loaded; the same object as long as the workspace keeps it, for reading only."""
    from ..hub.model import Hub

    record = ready_model(context, ref, ModelKind.HUB)
    # Opened even where the hub is in memory already: damage and absence fail the same every time.
    folder, device = context.artifacts.open(str(record.artifact)), context.settings.device
    return context.hubs.get((record.artifact, device), lambda: Hub.load(folder, device=device)), record


def load_spoke(context: Context, record: ModelRecord) -> tuple[Spoke, Hub]:
    """A stored spoke version on its hub."""
    from ..hub.devices import pick_device
    from ..spokes.spoke import Spoke

    hub, _ = load_hub(context, context.registry.models.hub_of(record.ref).ref)
    spoke = Spoke.load(context.artifacts.open(str(record.artifact)), hub)
    if spoke.behaviour:
        spoke.behaviour.model.to(pick_device(context.settings.device))
    return spoke, hub


def over_catalog(context: Context, model: ModelRecord, dataset: Dataset) -> tuple[Spoke, EncodedItems]:
    """A spoke version, or a hub version's launch floor, with the encoder outputs of the catalog that it is to serve.

    A catalog without anything that the hub reads is an InvalidDataError: content is all that a launch floor knows.
    """
    from ..hub.content import fit_content_space
    from ..spokes.spoke import launch_floor

    if model.kind == ModelKind.SPOKE:
        spoke, hub = load_spoke(context, model)
        return spoke, encode_items(context, hub, dataset, spoke.content, spoke.heads)
    hub, _ = load_hub(context, model.ref)
    encoded = encode_items(context, hub, dataset)
    space = fit_content_space(hub.fusion.fuse(encoded), hub.config)
    if not space.dimension:
        name, seen = dataset.domain.name, "" if hub.image is None else ", a picture"
        raise InvalidDataError(
            f"No item of {name} has a title, a description{seen} or anything else for {model.ref} to read, so that "
            "nothing tells the items apart; bring a catalog that has with `hubspoke data ingest "
            f"{name} --items FILE --map title=COLUMN`."
        )
    return launch_floor(hub, space), encoded


def encode_items(
    context: Context,
    hub: Hub,
    dataset: Dataset,
    content: Collection[str] = ("text", "image"),
    heads: Mapping[str, int] | None = None,
) -> EncodedItems:
    """What the hub's encoders make of a catalog; each runs once per item, ever, and only if its content is read.

    With `heads`, the last layers by modality that a spoke adapts, the states before these come along.
    """
    from ..hub.cache import EmbeddingCache
    from .datasets import image_paths

    seen = hub.image is not None and "image" in content
    pictures = image_paths(dataset) if seen else [[] for _ in range(dataset.items.height)]
    cache = EmbeddingCache(context.cache_dir, context.progress.note)
    return hub.encode_items(dataset.items, pictures, cache, context.progress, texts="text" in content, heads=heads)
