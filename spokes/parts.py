"""Named parts of a spoke: what it inherits from its hub unchanged and why, and what is its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace

from ..hub.adapters.adapted import PREFIX
from ..hub.model import Hub
from ..hub.parts import Part, hub_parts, weights_part
from .spoke import Behaviour, Spoke

FROZEN = "frozen, so that every category speaks of content in the same words"
ADAPTED = "the frozen base under this category's adapter"
HEAD_ADAPTED = "frozen, with this category's adapter on its last layers in behaviour; the floor reads it as it is"
FLOOR = "out of reach of the category's training, so that cold items keep what the hub says of them"
READ = "as the hub learned it, where validation found no better recency"
# How the names of weights begin, part by part.
OWN_WEIGHTS = {
    "content projection": ("content.linear.",),
    "item ids": ("ids.",),
    "item fusion": ("item_fusion.",),
    "transformer": ("transformer.", "mask"),
}
# Encoders of what was fitted on training data; a part is both, for one is nothing without the other.
FITTED = {"attribute encoder": "attributes", "behaviour statistics": "statistics"}


def spoke_parts(spoke: Spoke, hub: Hub) -> list[Part]:
    """Of the hub what is read, as inherited; calibration, adapter, network, features, trend and mixture of its own."""
    adapted = spoke.behaviour is not None and spoke.behaviour.config.lora is not None
    reasons = {f"{name} encoder": HEAD_ADAPTED for name in spoke.heads} | {"fusion": ADAPTED if adapted else FLOOR}
    if hub.reading in (spoke.mixture.seen_ranked.reading, spoke.mixture.seen_filtered.reading):
        reasons["reading"] = READ
    parts = [
        replace(part, inherited=reasons.get(part.name, FROZEN))
        for part in hub_parts(hub)
        if _reads(spoke, part.name) and (part.name != "reading" or part.name in reasons)
    ]
    tensors = spoke.space.tensors().values()
    sizes = sum(tensor.nbytes for tensor in tensors), sum(tensor.size for tensor in tensors)
    parts.append(Part("calibration", spoke.space.fingerprint, *sizes))
    if spoke.behaviour:
        parts += _network(spoke.behaviour)
    if spoke.trend:
        counts = spoke.trend.counts
        counted = json.dumps([spoke.trend.spans, spoke.trend.item_ids, counts.tolist()])
        parts.append(Part("trend", _sha256(counted), counts.nbytes, counts.size))
    return [*parts, Part("mixture", _sha256(spoke.mixture.model_dump_json(exclude_none=True)))]


def _reads(spoke: Spoke, name: str) -> bool:
    """Whether a part of the hub is read."""
    if name == "fusion":
        return bool(spoke.content) and (spoke.behaviour is None or spoke.behaviour.config.hub_fusion)
    return inherited_by(name) in (*spoke.content, "scorer")


def inherited_by(name: str) -> str:
    """The part of a transfer policy that a part of the hub or of a sibling comes with."""
    known = {"image encoder": "image", "fusion": "fusion", "reading": "scorer"}
    known |= {"transformer": "behaviour", "attribute encoder": "attributes"}
    return known.get(name, "text")


def _network(behaviour: Behaviour) -> Iterator[Part]:
    weights, fitted = behaviour.model.state_dict(), behaviour.features.fingerprints
    lora = {name for name in weights if "lora_" in name}
    on_encoders = {name for name in lora if name.startswith(PREFIX)}
    for part, names in (("adapter", lora - on_encoders), ("encoder adapter", on_encoders)):
        if names:
            yield weights_part(part, {name: own for name, own in weights.items() if name in names})
    for part, prefixes in OWN_WEIGHTS.items():
        found = weights_part(part, {name: own for name, own in weights.items() if name.startswith(prefixes)})
        if found.parameters:
            yield found
    for part, name in FITTED.items():
        if name in fitted:
            prefix = f"features.{name}."
            encoder = weights_part(part, {own: w for own, w in weights.items() if own.startswith(prefix)})
            yield replace(encoder, fingerprint=_sha256(f"{encoder.fingerprint}|{fitted[name]}"))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
