"""The hub: encoders, base fusion and their fingerprint; what it says of a catalog, and how it is saved and loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..arrays import FloatArray
from ..errors import CorruptArtifactError, IncompatibleError, UsageError
from .adapters.states import ItemStates, image_states, text_states
from .cache import EmbeddingCache, encode_cached, file_hashes, text_hashes
from .calibration import unit_rows
from .config import HubConfig
from .encoders.image import ImageEncoder
from .encoders.loading import load_image_encoder, load_text_encoder
from .encoders.text import TextEncoder, item_texts
from .fusion import BaseFusion, EncodedItems

Progress = Callable[[str, int, int], None]


class Hub:
    """A hub version in memory.

    Args:
        config: what it is made of.
        device: where encoders run.
        fusion: trained base fusion; without one it starts as the identity.
    """

    def __init__(self, config: HubConfig, *, device: str = "auto", fusion: BaseFusion | None = None) -> None:
        self.config = config
        self.text: TextEncoder | None = load_text_encoder(config.text, device) if config.text else None
        self.image: ImageEncoder | None = load_image_encoder(config.image, device) if config.image else None
        self.fusion = fusion or self._untrained_fusion()

    def _untrained_fusion(self) -> BaseFusion:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            return BaseFusion(self.text_dimension, self.image_dimension, self.config.fusion).eval()

    @property
    def text_dimension(self) -> int:
        """Dt, 0 without a text encoder."""
        return self.text.dimension if self.text else 0

    @property
    def image_dimension(self) -> int:
        """Dv, 0 without an image encoder."""
        return self.image.dimension if self.image else 0

    @property
    def encoder_fingerprints(self) -> dict[str, str]:
        """Fingerprint of each encoder."""
        encoders = {"text": self.text, "image": self.image}
        return {name: encoder.fingerprint for name, encoder in encoders.items() if encoder}

    @property
    def fingerprint(self) -> str:
        """SHA-256 over encoders, fusion weights and everything else that changes a content embedding."""
        settings = self.config.model_dump(mode="json", include={"text_fields", "calibration", "image_calibration"})
        # Hubs were stored under this key: it must not change, or none of their spaces would be recognised.
        head = json.dumps({"trunks": self.encoder_fingerprints, "settings": settings}, sort_keys=True)
        digest = hashlib.sha256(head.encode())
        for name, weight in sorted(self.fusion.state_dict().items()):
            digest.update(name.encode())
            digest.update(weight.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def encode_items(
        self,
        items: pl.DataFrame,
        pictures: Sequence[Sequence[Path]],
        cache: EmbeddingCache,
        progress: Progress | None = None,
        *,
        texts: bool = True,
        heads: Mapping[str, int] | None = None,
    ) -> EncodedItems:
        """Run (or look up) the encoders on a catalog.

        Args:
            items: N items in the canonical schema.
            pictures: the picture files of each item; items without have an empty list. `image_sha256` of the item,
                where present, saves hashing the file again.
            cache: where encoder outputs are kept.
            progress: called with the stage, the inputs done and the inputs in all.
            texts: whether texts are read; without it all items are as if they had none.
            heads: how many last layers a spoke adapts, by modality; the states before them come along.

        Raises:
            UsageError: an encoder that is to be adapted is not there or cannot be.
        """
        unread = np.zeros((len(items), self.text_dimension), np.float32)
        return EncodedItems(
            text=self._text_vectors(items, cache, progress) if texts else unread,
            image=self._image_vectors(items, pictures, cache, progress),
            states={
                name: self._states(name, layers, items, pictures, cache, progress)
                for name, layers in (heads or {}).items()
            },
        )

    def encoder(self, modality: str) -> TextEncoder | ImageEncoder:
        """The encoder of a modality, where it is to be adapted.

        Raises:
            UsageError: there is none.
        """
        encoder = self.text if modality == "text" else self.image
        if encoder is None:
            raise UsageError(
                f"The hub has no {modality} encoder to adapt; take {modality} out of encoder_adapter.encoders or train "
                "a hub that has one."
            )
        return encoder

    def _states(
        self,
        modality: str,
        layers: int,
        items: pl.DataFrame,
        pictures: Sequence[Sequence[Path]],
        cache: EmbeddingCache,
        progress: Progress | None,
    ) -> ItemStates:
        encoder = self.encoder(modality)
        if isinstance(encoder, TextEncoder):
            texts = item_texts(items, self.config.text_fields)
            has_text = np.array([bool(text) for text in texts], dtype=np.bool_)
            stage = _stage(progress, "reading texts up to the adapted layers")
            return text_states(encoder, layers, [text for text in texts if text], has_text, cache, stage)
        files = [path for paths in pictures for path in paths]
        counts = np.array([len(paths) for paths in pictures], np.int64)
        hashes = _picture_hashes(items, pictures) or file_hashes(files)
        stage = _stage(progress, "reading pictures up to the adapted layers")
        return image_states(encoder, layers, files, hashes, counts, cache, stage)

    def _text_vectors(self, items: pl.DataFrame, cache: EmbeddingCache, progress: Progress | None) -> FloatArray:
        vectors = np.zeros((len(items), self.text_dimension), np.float32)
        if self.text is None:
            return vectors
        texts = item_texts(items, self.config.text_fields)
        rows = [row for row, text in enumerate(texts) if text]
        present = [texts[row] for row in rows]
        if rows:
            stage = _stage(progress, "encoding texts")
            vectors[rows] = encode_cached(self.text, present, text_hashes(present), cache, stage)
        return vectors

    def _image_vectors(
        self, items: pl.DataFrame, pictures: Sequence[Sequence[Path]], cache: EmbeddingCache, progress: Progress | None
    ) -> FloatArray:
        vectors = np.zeros((len(items), self.image_dimension), np.float32)
        files = [path for paths in pictures for path in paths]
        if self.image is None or not files:
            return vectors
        rows = np.repeat(np.arange(len(pictures)), [len(paths) for paths in pictures])
        hashes = _picture_hashes(items, pictures) or file_hashes(files)
        encoded = encode_cached(self.image, files, hashes, cache, _stage(progress, "encoding pictures"))
        np.add.at(vectors, rows, encoded)
        return unit_rows(vectors)

    def save(self, directory: Path) -> None:
        """Write config.json, trunks.json and fusion.safetensors; encoder weights stay where they came from."""
        (directory / "config.json").write_text(self.config.model_dump_json(indent=2), encoding="utf-8")
        (directory / "trunks.json").write_text(
            json.dumps(self.encoder_fingerprints, indent=2, sort_keys=True), encoding="utf-8"
        )
        weights = {name: weight.cpu().contiguous() for name, weight in self.fusion.state_dict().items()}
        save_file(weights, directory / "fusion.safetensors")

    @classmethod
    def load(cls, directory: Path, *, device: str = "auto") -> Hub:
        """Read a saved hub.

        Raises:
            IncompatibleError: an encoder on this machine is not the one the hub was made with.
            CorruptArtifactError: a file is missing, unreadable or does not fit the others.
        """
        try:
            config = HubConfig.model_validate_json((directory / "config.json").read_text(encoding="utf-8"))
            recorded = dict(json.loads((directory / "trunks.json").read_text(encoding="utf-8")))
        except (ValueError, TypeError, OSError) as error:
            raise CorruptArtifactError(f"the hub in {directory} cannot be read; train it with --force.") from error
        hub = cls(config, device=device)
        for name, fingerprint in hub.encoder_fingerprints.items():
            if recorded.get(name) != fingerprint:
                raise IncompatibleError(
                    f"the {name} encoder on this machine ({fingerprint[:12]}) is not the one this hub was made with "
                    f"({recorded.get(name, 'none')[:12]}); install the same weights or train a new hub."
                )
        try:
            hub.fusion.load_state_dict(load_file(directory / "fusion.safetensors"))
        except (SafetensorError, RuntimeError, OSError) as error:
            raise CorruptArtifactError(
                f"the hub's fusion weights cannot be read ({error}); train it with --force."
            ) from error
        return hub


def _picture_hashes(items: pl.DataFrame, pictures: Sequence[Sequence[Path]]) -> list[str] | None:
    """The hash of every picture file where each item comes with as many hashes as pictures, else None."""
    if "image_sha256" not in items.columns:
        return None
    known = [hashes or [] for hashes in items["image_sha256"].to_list()]
    if [len(hashes) for hashes in known] != [len(paths) for paths in pictures]:
        return None
    return [sha256 for hashes in known for sha256 in hashes]


def _stage(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(name, done, total)
