"""Named parts of a spoke: what it inherits from its hub unchanged and why, and what is its own."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from ..hub.adapters.adapted import PREFIX
from ..hub.model import Hub
from ..hub.parts import Part, hub_parts, weights_part
from .features.trend import Trend
from .model import BehaviourModel
from .spoke import Behaviour, Spoke

FROZEN = "frozen, so that every category speaks of content in the same words"
ADAPTED = "the frozen base under this category's adapter"
HEAD_ADAPTED = "frozen, with this category's adapter on its last layers in behaviour; the floor reads it as it is"
FLOOR = "out of reach of the category's training, so that cold items keep what the hub says of them"
# How the names of weights begin, part by part.
OWN_WEIGHTS = {
    "content projection": ("content.linear.",),
    "item ids": ("ids.",),
    "item fusion": ("item_fusion.",),
    "transformer": ("transformer.", "mask"),
}
# Encoders of what was fitted on the training data; a part is both, for one is nothing without the other.
FITTED = {"attribute encoder": "attributes", "behaviour statistics": "statistics"}


def spoke_parts(spoke: Spoke, hub: Hub) -> list[Part]:
    """Encoders and fusion as inherited; calibration, adapter, network, features, trend and mixture of its own."""
    adapted = spoke.behaviour is not None and spoke.behaviour.config.lora is not None
    encoders = {f"{name} encoder" for name in spoke.heads}
    inherited = [
        replace(part, inherited=HEAD_ADAPTED if part.name in encoders else _why(part.name, adapted))
        for part in hub_parts(hub)
    ]
    network = [*_network(spoke.behaviour.model), *_fitted(spoke.behaviour)] if spoke.behaviour else []
    mixture = hashlib.sha256(spoke.mixture.model_dump_json().encode()).hexdigest()
    trend = [_trend(spoke.trend)] if spoke.trend else []
    return [*inherited, _calibration(spoke), *network, *trend, Part("mixture", mixture)]


def _why(name: str, adapted: bool) -> str:
    if name != "fusion":
        return FROZEN
    return ADAPTED if adapted else FLOOR


def _calibration(spoke: Spoke) -> Part:
    tensors = spoke.space.tensors().values()
    sizes = sum(tensor.nbytes for tensor in tensors), sum(tensor.size for tensor in tensors)
    return Part("calibration", spoke.space.fingerprint, *sizes)


def _trend(trend: Trend) -> Part:
    counted = json.dumps([trend.spans, trend.item_ids, trend.counts.tolist()])
    return Part("trend", hashlib.sha256(counted.encode()).hexdigest(), trend.counts.nbytes, trend.counts.size)


def _network(model: BehaviourModel) -> list[Part]:
    weights = model.state_dict()
    parts = [
        weights_part(part, {name: weight for name, weight in weights.items() if name.startswith(prefixes)})
        for part, prefixes in OWN_WEIGHTS.items()
    ]
    parts = [part for part in parts if part.parameters]
    lora = {name: weight for name, weight in weights.items() if "lora_" in name}
    adapters = {
        "adapter": {name: weight for name, weight in lora.items() if not name.startswith(PREFIX)},
        "encoder adapter": {name: weight for name, weight in lora.items() if name.startswith(PREFIX)},
    }
    return [*(weights_part(part, own) for part, own in adapters.items() if own), *parts]


def _fitted(behaviour: Behaviour) -> list[Part]:
    weights, fitted = behaviour.model.state_dict(), behaviour.features.fingerprints
    parts = []
    for part, name in FITTED.items():
        if name in fitted:
            prefix = f"features.{name}."
            encoder = weights_part(part, {own: w for own, w in weights.items() if own.startswith(prefix)})
            both = hashlib.sha256(f"{encoder.fingerprint}|{fitted[name]}".encode()).hexdigest()
            parts.append(replace(encoder, fingerprint=both))
    return parts
