"""Named parts of a model, by fingerprint and size: the registry compares two versions part by part."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from .encoders.weights import tensors_digest
from .model import Hub


@dataclass(frozen=True)
class Part:
    """One part of a model."""

    name: str  # unique within the model
    fingerprint: str  # SHA-256; equal parts have equal ones
    bytes: int | None = None  # of its weights; None where they are not stored with the model
    parameters: int | None = None  # numbers it holds; None likewise
    inherited: str | None = None  # why it was taken from the hub unchanged; None for a part of the model's own


def weights_part(name: str, weights: Mapping[str, Tensor], inherited: str | None = None) -> Part:
    """A part made of tensors: SHA-256 over their names, shapes and numbers."""
    size = sum(weight.numel() * weight.element_size() for weight in weights.values())
    parameters = sum(weight.numel() for weight in weights.values())
    return Part(name, tensors_digest(weights), size, parameters, inherited)


def hub_parts(hub: Hub) -> list[Part]:
    """The encoders, whose weights stay where they came from but for what the hub trained, and the base fusion."""
    parts = []
    for name, fingerprint in hub.encoder_fingerprints.items():
        trained = hub.trained_encoders.get(name, {})
        stored = weights_part("", trained) if trained else Part("", "")
        parts.append(replace(stored, name=f"{name} encoder", fingerprint=fingerprint))
    parts.append(weights_part("fusion", hub.fusion.state_dict()))
    if hub.reading is not None:
        learned = hub.reading.model_dump_json()
        parts.append(Part("reading", hashlib.sha256(learned.encode()).hexdigest(), len(learned)))
    return parts
