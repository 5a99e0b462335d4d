"""Content space: one catalog's calibrated text and image blocks, the launch floor that behaviour cannot touch."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import FloatArray
from ..errors import CorruptArtifactError
from .calibration import Calibration, fit_calibration, identity
from .config import HubConfig
from .cross_modal import agreement, fit_image_to_text, in_text_space
from .crowding import Crowding, fit_crowding

if TYPE_CHECKING:
    from .fusion import EncodedItems


@dataclass(frozen=True)
class ContentSpace:
    """Calibrations of a catalog's modalities, none where it lacks one.

    A content embedding is `[text | further text blocks | crowding | image]`. Each block has length one, or zero where
    the item lacks it; crowding is one column, and stands where the hub asks for it.
    """

    text: Calibration | None
    image: Calibration | None
    blocks: Mapping[str, Calibration] = field(default_factory=dict)  # of further text blocks by name
    crowding: Crowding | None = None
    # Standard deviation of the inner product of two of the catalog's items, block by block: what a reading is told in.
    spreads: Mapping[str, float] = field(default_factory=dict)
    # Of a catalog that has enough of both: how far texts and pictures agree, and (Ri, Rt) what a picture says in words.
    agreement: float | None = None
    image_to_text: FloatArray | None = None

    @cached_property
    def columns(self) -> dict[str, slice]:
        """The columns of each part of a content embedding, in their order; a part that is missing is left out."""
        ranks = {"text": _rank(self.text), **{name: _rank(own) for name, own in self.blocks.items()}}
        ranks |= {"crowding": int(self.crowding is not None), "image": _rank(self.image)}
        ends = np.cumsum([*ranks.values()]).tolist()
        return {name: slice(end - rank, end) for (name, rank), end in zip(ranks.items(), ends, strict=True) if rank}

    @property
    def text_rank(self) -> int:
        """Columns that text alone decides."""
        return self.dimension - self.image_rank

    @property
    def image_rank(self) -> int:
        """Columns of the image block."""
        return _rank(self.image)

    @property
    def dimension(self) -> int:
        """Columns of a content embedding, R."""
        return max((own.stop for own in self.columns.values()), default=0)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all that decides a content embedding."""
        parts = [own.fingerprint if own else "none" for own in (self.text, self.image)]
        parts += [f"{name}:{own.fingerprint}" for name, own in self.blocks.items()]
        digest = hashlib.sha256("|".join(parts).encode())
        if self.crowding:
            digest.update(self.crowding.landmarks.tobytes() + self.crowding.scale.tobytes())
        return digest.hexdigest()

    def only(self, modalities: Collection[str]) -> ContentSpace:
        """The same calibrations without those of other modalities."""
        image = self.image if "image" in modalities else None
        if "text" in modalities:
            known = (self.agreement, self.image_to_text) if image else (None, None)
            return ContentSpace(self.text, image, self.blocks, self.crowding, self.spreads, *known)
        return ContentSpace(None, image, spreads=self.spreads)

    def uncalibrated(self) -> ContentSpace:
        """The space of what the fusion gives as it is, scaled to unit length."""
        text, image = (own and identity(len(own.mean)) for own in (self.text, self.image))
        return ContentSpace(text, image)

    @property
    def fused(self) -> ContentSpace:
        """The blocks that the fusion reads, alone."""
        return ContentSpace(self.text, self.image)

    def embed(self, fused: EncodedItems) -> FloatArray:
        """Fused encoder outputs of N items to content embeddings (N, R)."""
        found = {"text": _calibrated(self.text, fused.text), "image": _calibrated(self.image, fused.image)}
        found |= {name: _calibrated(own, fused.blocks[name]) for name, own in self.blocks.items()}
        if self.crowding:
            found["crowding"] = self.crowding.apply(found["text"])
        ordered = [np.zeros((len(fused), 0), np.float32), *(found[name] for name in self.columns)]
        return np.concatenate(ordered, axis=1).astype(np.float32)

    def modality_weights(self, image_share: float) -> FloatArray:
        """(R,) weight of each column in the content score; the only modality of a catalog has all of it."""
        if self.text is None or self.image is None:
            return np.ones(self.dimension, np.float32)
        return np.repeat(np.array([1 - image_share, image_share], np.float32), [self.text_rank, self.image_rank])

    def image_share(self, config: HubConfig) -> float:
        """The share of pictures in the content score before any behaviour is known, by agreement where the hub asks."""
        if self.agreement is None or config.image_agreement == 0.0:
            return config.image_share
        return config.image_share * min(1.0, max(0.0, self.agreement / config.image_agreement))

    def image_in_text_space(self, embeddings: FloatArray) -> FloatArray:
        """(N, Rt) what the pictures of (N, R) content embeddings say, as unit vectors of the text block.

        Their inner product with a text's own columns ranks pictures for words. Zero for an item without a picture, and
        for all where the catalog has too few items with both.
        """
        if self.image_to_text is None:
            return np.zeros((len(embeddings), _rank(self.text)), np.float32)
        return in_text_space(embeddings[:, self.columns["image"]], self.image_to_text)

    def alike(self, embeddings: FloatArray) -> FloatArray:
        """(N, R') the columns of (N, R) content embeddings that say what an item is, whose products tell how alike."""
        if self.crowding is None:
            return embeddings
        return np.delete(embeddings, self.columns["crowding"], axis=1)

    def tensors(self) -> dict[str, FloatArray]:
        """The numbers, named for a safetensors file."""
        named = {"text": self.text, "image": self.image, **self.blocks}
        found = {
            f"{name}.{part}": np.ascontiguousarray(getattr(block, part))
            for name, block in named.items()
            if block is not None
            for part in ("mean", "transform")
        }
        if self.crowding:
            found |= {f"crowding.{part}": own for part, own in vars(self.crowding).items()}
        if self.agreement is not None:
            found["image.agreement"] = np.array([self.agreement], np.float32)
        if self.image_to_text is not None:
            found["image.to_text"] = np.ascontiguousarray(self.image_to_text)
        return found | {f"{name}.spread": np.array([own], np.float32) for name, own in self.spreads.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, FloatArray]) -> ContentSpace:
        """The inverse of `tensors`; the order of further blocks is that of their names."""
        names = sorted({name.partition(".")[0] for name in tensors if name.endswith((".mean", ".transform"))})

        def part(name: str, of: str) -> FloatArray:
            if f"{name}.{of}" not in tensors:
                raise CorruptArtifactError(f"content space lacks {name}.{of}; rebuild it with --force.")
            return tensors[f"{name}.{of}"]

        blocks = {name: Calibration(part(name, "mean"), part(name, "transform")) for name in names}
        text, image = blocks.pop("text", None), blocks.pop("image", None)
        crowding = None
        if "crowding.landmarks" in tensors:
            crowding = Crowding(part("crowding", "landmarks"), part("crowding", "scale"))
        spreads = {name.partition(".")[0]: float(own[0]) for name, own in tensors.items() if name.endswith(".spread")}
        agreed = float(tensors["image.agreement"][0]) if "image.agreement" in tensors else None
        return cls(text, image, blocks, crowding, spreads, agreed, tensors.get("image.to_text"))


def fit_content_space(fused: EncodedItems, config: HubConfig) -> ContentSpace:
    """Fit the calibrations on a catalog's own fused vectors; items without a modality do not count for it."""
    settings = {"text": config.calibration, "image": config.image_calibration}
    settings |= {block.name: block.calibration for block in config.text_blocks}
    raw = {"text": fused.text, "image": fused.image, **{name: fused.blocks[name] for name in sorted(fused.blocks)}}
    kept = {name: own[own.any(axis=1)] for name, own in raw.items()}
    found = {
        name: fit_calibration(own, settings.get(name, config.calibration)) for name, own in kept.items() if len(own)
    }
    unit = {name: calibration.apply(kept[name]) for name, calibration in found.items()}
    text, image = found.pop("text", None), found.pop("image", None)
    crowding = fit_crowding(unit["text"]) if config.crowding and "text" in unit else None
    spreads = {name: _spread(own) for name, own in unit.items()}
    if text is None or image is None:
        return ContentSpace(text, image, found, crowding, spreads)
    both = _calibrated(text, fused.text), _calibrated(image, fused.image)
    return ContentSpace(text, image, found, crowding, spreads, agreement(*both), fit_image_to_text(*both))


def _rank(calibration: Calibration | None) -> int:
    return 0 if calibration is None else int(calibration.transform.shape[1])


def _calibrated(calibration: Calibration | None, raw: FloatArray) -> FloatArray:
    """(N, R) unit vectors of (N, D) encoder outputs; zero where those are zero."""
    if calibration is None:
        return np.zeros((len(raw), 0), np.float32)
    present = np.asarray(raw.any(axis=1))[:, None]
    return np.where(present, calibration.apply(raw), 0.0).astype(np.float32)


def _spread(x: FloatArray) -> float:
    """Standard deviation of the inner product of two rows of (N, R), drawn apart: `tr(M M) - |m|^4`, M = E[x x^T]."""
    moments = x.T.astype(np.float64) @ x / len(x)  # (R, R)
    mean = x.mean(axis=0, dtype=np.float64)
    variance = float((moments * moments).sum() - (mean @ mean) ** 2)
    return float(np.sqrt(max(variance, 1e-12)))
