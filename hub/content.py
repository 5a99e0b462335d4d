"""Content space: one catalog's calibrated text and image blocks, the launch floor that behaviour cannot touch."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from ..arrays import FloatArray
from ..catalog.sequences import Histories
from ..errors import CorruptArtifactError
from .calibration import Calibration, fit_calibration, unit_rows
from .config import HubConfig
from .fusion import EncodedItems


@dataclass(frozen=True)
class ContentSpace:
    """Calibrations of a catalog's modalities, none where it lacks one.

    A content embedding is `[text block | image block]`, each of length one, or zero where the item lacks the modality.
    """

    text: Calibration | None
    image: Calibration | None

    @property
    def text_rank(self) -> int:
        """Columns of the text block."""
        return self.text.transform.shape[1] if self.text else 0

    @property
    def image_rank(self) -> int:
        """Columns of the image block."""
        return self.image.transform.shape[1] if self.image else 0

    @property
    def dimension(self) -> int:
        """Columns of a content embedding, R."""
        return self.text_rank + self.image_rank

    @property
    def fingerprint(self) -> str:
        """SHA-256 over both calibrations."""
        parts = [block.fingerprint if block else "none" for block in (self.text, self.image)]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()

    def only(self, modalities: Collection[str]) -> ContentSpace:
        """The same calibrations without those of other modalities."""
        return ContentSpace(self.text if "text" in modalities else None, self.image if "image" in modalities else None)

    def embed(self, fused: EncodedItems) -> FloatArray:
        """Fused encoder outputs of N items to content embeddings (N, R)."""
        pairs = ((self.text, fused.text, fused.has_text), (self.image, fused.image, fused.has_image))
        blocks = [np.where(present[:, None], own.apply(x), 0.0) for own, x, present in pairs if own is not None]
        return np.concatenate(blocks, axis=1).astype(np.float32) if blocks else np.zeros((len(fused), 0), np.float32)

    def modality_weights(self, image_share: float) -> FloatArray:
        """(R,) weight of each column in the content score; the only modality of a catalog has all of it."""
        if self.text is None or self.image is None:
            return np.ones(self.dimension, np.float32)
        return np.repeat(np.array([1 - image_share, image_share], np.float32), [self.text_rank, self.image_rank])

    def tensors(self) -> dict[str, FloatArray]:
        """The numbers, named for a safetensors file."""
        return {
            f"{name}.{part}": np.ascontiguousarray(getattr(block, part))
            for name, block in (("text", self.text), ("image", self.image))
            if block is not None
            for part in ("mean", "transform")
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, FloatArray]) -> ContentSpace:
        """The inverse of `tensors`."""
        blocks: dict[str, Calibration] = {}
        for name in ("text", "image"):
            if f"{name}.mean" in tensors:
                if f"{name}.transform" not in tensors:
                    raise CorruptArtifactError(f"content space lacks {name}.transform; rebuild it with --force.")
                blocks[name] = Calibration(tensors[f"{name}.mean"], tensors[f"{name}.transform"])
        return cls(blocks.get("text"), blocks.get("image"))


def fit_content_space(fused: EncodedItems, config: HubConfig) -> ContentSpace:
    """Fit the calibrations on a catalog's own fused vectors; items without a modality do not count for it."""
    text, image = fused.text[fused.has_text], fused.image[fused.has_image]
    return ContentSpace(
        text=fit_calibration(text, config.calibration) if len(text) else None,
        image=fit_calibration(image, config.image_calibration) if len(image) else None,
    )


def recency_weighted(embeddings: FloatArray, histories: Histories, decay: float, events: int) -> FloatArray:
    """(B, R) zero-shot embeddings of sessions (rows of items, oldest first): an event weighs `decay` times the next."""
    weights = np.zeros((len(histories), events), np.float32)
    rows = np.zeros((len(histories), events), np.int64)
    for b, history in enumerate(histories):
        recent = np.asarray(history)[-events:][::-1]  # the newest first
        rows[b, : len(recent)] = recent
        weights[b, : len(recent)] = decay ** np.arange(len(recent))
    if len(embeddings) == 0:
        return np.zeros((len(histories), embeddings.shape[1]), np.float32)
    return unit_rows(np.einsum("be,ber->br", weights, embeddings[rows]))
