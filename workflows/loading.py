"""Stored models in memory: a spoke on its hub, or a hub's launch floor, over the catalog that they are to serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UsageError
from ..registry.kinds import ModelKind
from ..registry.records import ModelRecord
from .models import encode_items, load_hub

if TYPE_CHECKING:
    from ..hub.fusion import EncodedItems
    from ..hub.model import Hub
    from ..spokes.spoke import Spoke
    from .context import Context
    from .datasets import Dataset


def load_spoke(context: Context, record: ModelRecord) -> tuple[Spoke, Hub]:
    """A stored spoke version on its hub.

    Raises:
        CorruptArtifactError: its artifact no longer matches its checksum.
        IncompatibleError: its hub's encoders are not those on this machine.
    """
    from ..hub.devices import pick_device
    from ..spokes.spoke import Spoke

    hub, _ = load_hub(context, context.registry.models.hub_of(record.ref).ref)
    spoke = Spoke.load(context.artifacts.open(str(record.artifact)), hub)
    if spoke.behaviour:
        spoke.behaviour.model.to(pick_device(context.settings.device))
    return spoke, hub


def over_catalog(context: Context, model: ModelRecord, dataset: Dataset) -> tuple[Spoke, EncodedItems]:
    """A spoke version, or a hub version's launch floor, with the encoder outputs of the catalog that it is to serve.

    Raises:
        CorruptArtifactError: an artifact no longer matches its checksum.
        IncompatibleError: the hub's encoders are not those on this machine.
    """
    from ..hub.content import fit_content_space
    from ..spokes.spoke import launch_floor

    if model.kind == ModelKind.SPOKE:
        spoke, hub = load_spoke(context, model)
        return spoke, encode_items(context, hub, dataset, spoke.content, spoke.heads)
    hub, _ = load_hub(context, model.ref)
    encoded = encode_items(context, hub, dataset)
    return launch_floor(hub, fit_content_space(hub.fusion.fuse(encoded), hub.config)), encoded


def spoke_ref(context: Context, ref: str) -> str:
    """The spoke version behind a reference; a domain, alias or release stands for the spoke that it serves.

    Raises:
        UsageError: the hub alone serves there.
    """
    node = context.registry.resolve(ref)
    if node.kind != "release":
        return node.ref
    release = context.registry.releases.get(node.ref)
    if release.spoke is None:
        domain = release.domain
        raise UsageError(f"In {release.ref} the hub alone serves; train one with `hubspoke spoke train {domain}`.")
    return release.spoke
