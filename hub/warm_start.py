"""What a hub takes over from an earlier version before it is trained on: all that the version has learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import IncompatibleError
from .config import HubConfig
from .model import Hub

# Settings that change how a hub is trained and not what its weights mean; a child's may differ from its parent's.
FREE = ("contrastive", "reading", "encoders", "seed", "image_share", "recency_decay")
BATCHES = "batch_size"  # of an encoder: it does not change the output


def require_same_shapes(child: HubConfig, parent: HubConfig, name: str) -> None:
    """Refuse the parent `name` where a setting that shapes weights, or gives them their meaning, differs."""
    ours, theirs = (_flat(config.model_dump(mode="json", exclude={*FREE})) for config in (child, parent))
    differing = [key for key in sorted({*ours, *theirs}) if ours.get(key) != theirs.get(key)]
    if differing:
        named = ", ".join(f"{key} {theirs.get(key)} there and {ours.get(key)} here" for key in differing)
        raise IncompatibleError(
            f"{name} cannot be trained on with this config ({named}); leave these settings out, so that the parent's "
            "are taken, or train without a parent."
        )


def take_over(hub: Hub, parent: Hub) -> None:
    """Let a new hub of the same shapes begin as the parent: its encoders, its fusion and its reading."""
    hub.replace_encoders(parent.trained_encoders)
    hub.fusion.load_state_dict(parent.fusion.state_dict())
    hub.reading = parent.reading


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        elif key != BATCHES:
            found[f"{prefix}{key}"] = value
    return found
