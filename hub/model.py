"""The hub: encoders, base fusion and their fingerprint; what it makes of a catalog, and how it is saved and loaded."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache as cache_calls
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..arrays import BoolArray, FloatArray
from ..errors import CorruptArtifactError, IncompatibleError, UsageError
from ..progress import Progress, StepProgress
from .adapters.states import item_states
from .cache import EmbeddingCache, encode_cached, file_hashes, text_hashes
from .calibration import unit_rows
from .config import OWN, HubConfig, ImageEncoderConfig, TextEncoderConfig
from .encoders.image import ImageEncoder
from .encoders.loading import load_image_encoder, load_text_encoder
from .encoders.text import TextEncoder, item_texts
from .fusion import BaseFusion, EncodedItems
from .reading import Reading, packaged_reading

Encoder = TypeVar("Encoder", TextEncoderConfig, ImageEncoderConfig)

# What the first version called an encoder. It is in every stored hub's fingerprint, and so in the name of its space.
_ENCODERS_KEY, _ENCODERS_FILE = "trunks", "trunks.json"
_READING_FILE, _ENCODER_WEIGHTS, _OWN_ENCODERS = "reading.json", "encoders", "own"


@dataclass(frozen=True)
class _Texts:
    """What N items say in some fields."""

    present: BoolArray  # (N,) true where an item says anything
    read: list[str]  # of these items
    keys: list[str]  # SHA-256 of each

    @classmethod
    def of(cls, items: pl.DataFrame, fields: Sequence[str]) -> _Texts:
        written = item_texts(items, fields)
        read = [text for text in written if text]
        return cls(np.array([bool(text) for text in written], dtype=np.bool_), read, text_hashes(read))

    @classmethod
    def none(cls, n: int) -> _Texts:
        return cls(np.zeros(n, dtype=np.bool_), [], [])

    def encoded(self, encoder: TextEncoder, cache: EmbeddingCache, progress: StepProgress | None) -> FloatArray:
        """(N, D) what an encoder makes of them, zero where an item says nothing."""
        found = np.zeros((len(self.present), encoder.dimension), np.float32)
        if self.read:
            found[self.present] = encode_cached(encoder, self.read, self.keys, cache, progress)
        return found


class Hub:
    """A hub version in memory; without a trained fusion it starts as the identity."""

    def __init__(
        self,
        config: HubConfig,
        *,
        device: str = "auto",
        fusion: BaseFusion | None = None,
        own_encoders: Path | None = None,  # folder of those that were made from scratch
    ) -> None:
        self.config, self.own_encoders = config, own_encoders
        text, image = _placed(config.text, own_encoders), _placed(config.image, own_encoders)
        self.text: TextEncoder | None = load_text_encoder(text, device) if text else None
        self.image: ImageEncoder | None = load_image_encoder(image, device) if image else None
        self.blocks = {block.name: load_text_encoder(block.encoder, device) for block in config.text_blocks}
        self.text_dimension = self.text.dimension if self.text else 0  # Dt
        self.image_dimension = self.image.dimension if self.image else 0  # Dv
        if fusion is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(config.seed)
                fusion = BaseFusion(self.text_dimension, self.image_dimension, config.fusion).eval()
        self.fusion = fusion
        # Weights of encoders that were trained with the hub, by encoder and by name in its module.
        self.trained_encoders: Mapping[str, Mapping[str, Tensor]] = {}
        self.reading = packaged_reading(config)  # how content reads a session; None for the fixed recency

    @property
    def device(self) -> torch.device:
        """Where the encoders run."""
        return next(encoder.device for encoder in (self.text, self.image) if encoder)

    @property
    def encoder_fingerprints(self) -> dict[str, str]:
        """Fingerprint of each encoder."""
        encoders = {"text": self.text, "image": self.image, **self.blocks}
        return {name: encoder.fingerprint for name, encoder in encoders.items() if encoder}

    @property
    def fingerprint(self) -> str:
        """SHA-256 over encoders, fusion weights and everything else that changes a content embedding."""
        settings = self.config.model_dump(mode="json", include={"text_fields", "calibration", "image_calibration"})
        # Named only where they are set, so that a hub without them has the fingerprint that it always had.
        if self.config.text_blocks:
            blocks = [block.model_dump(mode="json", exclude={"encoder"}) for block in self.config.text_blocks]
            settings["text_blocks"] = blocks
        if self.config.crowding:
            settings["crowding"] = True
        head = json.dumps({_ENCODERS_KEY: self.encoder_fingerprints, "settings": settings}, sort_keys=True)
        digest = hashlib.sha256(head.encode())
        for name, weight in sorted(self.fusion.state_dict().items()):
            digest.update(name.encode())
            digest.update(weight.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def encoder(self, modality: str) -> TextEncoder | ImageEncoder:
        """The encoder of a modality, where it is to be adapted."""
        encoder = self.text if modality == "text" else self.image
        if encoder is None:
            raise UsageError(
                f"The hub has no {modality} encoder to adapt; take {modality} out of encoder_adapter.encoders or train "
                "a hub that has one."
            )
        return encoder

    def replace_encoders(self, trained: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Give the text and image encoders other weights, by encoder and by name in its module."""
        if self.text and "text" in trained:
            self.text = self.text.with_weights(trained["text"])
        if self.image and "image" in trained:
            self.image = self.image.with_weights(trained["image"])
        before = self.trained_encoders
        self.trained_encoders = {**before, **{name: {**before.get(name, {}), **own} for name, own in trained.items()}}

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
        """Run (or look up) the encoders on N items with the picture files of each.

        Without `texts` all items are as if they had none. `heads` says how many last layers a spoke adapts, by
        modality; the states before them come along.
        """
        layers = heads or {}
        stage = progress.stage if progress else lambda _: None
        texts_of = cache_calls(lambda fields: _Texts.of(items, fields))  # most blocks read the same fields
        reads_texts = self.text is not None and (texts or "text" in layers)
        own = texts_of(self.config.text_fields) if reads_texts else _Texts.none(len(items))
        files = [path for paths in pictures for path in paths] if self.image else []
        counts = np.array([len(paths) for paths in pictures], np.int64)  # (N,) pictures of each item
        hashes = _picture_hashes(items, pictures, files)
        text = np.zeros((len(items), self.text_dimension), np.float32)
        if self.text and texts:
            text = own.encoded(self.text, cache, stage("encoding texts"))
        blocks = {}
        for block in self.config.text_blocks:
            written = texts_of(block.fields) if texts else _Texts.none(len(items))
            blocks[block.name] = written.encoded(self.blocks[block.name], cache, stage(f"encoding {block.name}"))
        image = np.zeros((len(items), self.image_dimension), np.float32)
        if self.image and files:
            encoded = encode_cached(self.image, files, hashes, cache, stage("encoding pictures"))
            # An item is the mean direction of its pictures; plain `+=` would keep the last of an item's rows only.
            np.add.at(image, np.repeat(np.arange(len(items)), counts), encoded)
            image = unit_rows(image)
        states = {}
        for modality, count in layers.items():
            encoder = self.encoder(modality)
            shown = stage(f"reading {'texts' if modality == 'text' else 'pictures'} up to the adapted layers")
            if modality == "text":
                counted = own.present.astype(np.int64)
                states[modality] = item_states(encoder, count, own.read, own.keys, counted, cache, shown)
            else:
                states[modality] = item_states(encoder, count, files, hashes, counts, cache, shown)
        return EncodedItems(text, image, blocks, states)

    def encode_query(self, text: str | None = None, picture: Path | None = None) -> EncodedItems:
        """What somebody looks for, in words or by a picture, encoded as one item (1, ...); nothing of it is cached."""

        def read(encoder: TextEncoder | None, width: int) -> FloatArray:
            return encoder.encode([text], None) if encoder and text else np.zeros((1, width), np.float32)

        blocks = {name: read(encoder, encoder.dimension) for name, encoder in self.blocks.items()}
        image = np.zeros((1, self.image_dimension), np.float32)
        if self.image and picture:
            image = self.image.encode([picture], None)
        return EncodedItems(read(self.text, self.text_dimension), image, blocks)

    def save(self, directory: Path) -> None:
        """Write config, encoder fingerprints and all that was trained; other weights stay where they came from."""
        (directory / "config.json").write_text(self.config.model_dump_json(indent=2), encoding="utf-8")
        (directory / _ENCODERS_FILE).write_text(
            json.dumps(self.encoder_fingerprints, indent=2, sort_keys=True), encoding="utf-8"
        )
        weights = {name: weight.cpu().contiguous() for name, weight in self.fusion.state_dict().items()}
        save_file(weights, directory / "fusion.safetensors")
        for name, trained in self.trained_encoders.items():
            (directory / _ENCODER_WEIGHTS).mkdir(exist_ok=True)
            own = {key: weight.cpu().contiguous() for key, weight in trained.items()}
            save_file(own, directory / _ENCODER_WEIGHTS / f"{name}.safetensors")
        if self.own_encoders:
            shutil.copytree(self.own_encoders, directory / _OWN_ENCODERS)
        if self.reading is not None:
            (directory / _READING_FILE).write_text(self.reading.model_dump_json(indent=2), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path, *, device: str = "auto") -> Hub:
        """Read a saved hub; IncompatibleError where an encoder on this machine is not the one it was made with."""
        try:
            config = HubConfig.from_stored(json.loads((directory / "config.json").read_text(encoding="utf-8")))
            recorded = dict(json.loads((directory / _ENCODERS_FILE).read_text(encoding="utf-8")))
        except (ValueError, TypeError, OSError) as error:
            raise CorruptArtifactError(f"the hub in {directory} cannot be read; train it with --force.") from error
        hub = cls(config, device=device, own_encoders=directory / _OWN_ENCODERS if config.own_encoders else None)
        try:
            files = (directory / _ENCODER_WEIGHTS).glob("*.safetensors")
            hub.replace_encoders({path.stem: load_file(path) for path in files})
        except (SafetensorError, OSError) as error:
            raise CorruptArtifactError(f"the encoders in {directory} cannot be read; train it with --force.") from error
        for name, fingerprint in hub.encoder_fingerprints.items():
            if recorded.get(name) != fingerprint:
                raise IncompatibleError(
                    f"the {name} encoder on this machine ({fingerprint[:12]}) is not the one this hub was made with "
                    f"({recorded.get(name, 'none')[:12]}); install the same weights or train a new hub."
                )
        try:
            hub.fusion.load_state_dict(load_file(directory / "fusion.safetensors"))
            learned = directory / _READING_FILE
            hub.reading = Reading.model_validate_json(learned.read_bytes()) if learned.exists() else None
        except (SafetensorError, RuntimeError, OSError, ValueError) as error:
            raise CorruptArtifactError(
                f"the hub's trained weights cannot be read ({error}); train it with --force."
            ) from error
        return hub


def _placed(encoder: Encoder | None, own_encoders: Path | None) -> Encoder | None:
    """The config of an encoder; that of one of the hub's own names its folder."""
    if encoder is None or encoder.name != OWN:
        return encoder
    if own_encoders is None:
        raise UsageError(f"An encoder that is named {OWN!r} is made by a training; train the hub with --from-scratch.")
    kind = "text" if isinstance(encoder, TextEncoderConfig) else "image"
    return encoder.model_copy(update={"name": f"{OWN}:{own_encoders / kind}"})


def _picture_hashes(items: pl.DataFrame, pictures: Sequence[Sequence[Path]], files: Sequence[Path]) -> list[str]:
    """SHA-256 of every file: from the catalog where each item comes with as many hashes as pictures, else computed."""
    if files and "image_sha256" in items.columns:
        known = [hashes or [] for hashes in items["image_sha256"].to_list()]
        if [len(hashes) for hashes in known] == [len(paths) for paths in pictures]:
            return [sha256 for hashes in known for sha256 in hashes]
    return file_hashes(files)
