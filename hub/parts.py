"""Named parts of a model, by fingerprint and size: the registry compares two versions part by part."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

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
    digest = hashlib.sha256()
    for key, weight in sorted(weights.items()):
        digest.update(f"{key}{tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    size = sum(weight.numel() * weight.element_size() for weight in weights.values())
    return Part(name, digest.hexdigest(), size, sum(weight.numel() for weight in weights.values()), inherited)


def hub_parts(hub: Hub) -> list[Part]:
    """The encoders, whose weights stay where they came from, and the base fusion."""
    encoders = [Part(f"{name} encoder", fingerprint) for name, fingerprint in hub.encoder_fingerprints.items()]
    parts = [*encoders, weights_part("fusion", hub.fusion.state_dict())]
    if hub.reading is not None:
        learned = hub.reading.model_dump_json()
        parts.append(Part("reading", hashlib.sha256(learned.encode()).hexdigest(), len(learned)))
    return parts
