"""A spoke: two subspaces, one inner product. Behaviour beside the calibrated content floor, mixed on the session side.

An item vector is `[behaviour | cold | trend | text | image]`, a session vector `[h | c | m | a (1 - s) q_text |
a s q_image]`; the score stays one inner product and one index. `cold` is 1 for items with too few events for an ID
residual and 0 for the others: training meets them as negatives far more often than as targets, and `c` gives back what
that took. `trend` says how often an item was taken lately; it has no column where that helped nobody.
Without a behavioural part a spoke is the launch floor: the hub's zero-shot recommender.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from ..arrays import FloatArray, IntArray
from ..catalog.sequences import Histories
from ..errors import CorruptArtifactError, IncompatibleError
from ..hub.adapters.adapted import PREFIX, load_encoders
from ..hub.adapters.lora import load_adapter, save_adapter
from ..hub.content import ContentSpace
from ..hub.fusion import BaseFusion, EncodedItems, untaught
from ..hub.model import Hub
from ..hub.reading import reading_of_seen
from .config import Modality, SpokeConfig
from .features.items import ItemFeatures
from .features.trend import Trend
from .mixture import FloorSettings, Mixture, floor_mixture
from .model import BehaviourModel, ItemInputs
from .recommender import VectorRecommender
from .sessions import SessionSide, modalities_of

UNKNOWN_ID_ROW = 0
# Frozen weights are the hub's, and adapters have files of their own.
SAVED_APART = ("content.fusion.", PREFIX)


@dataclass(frozen=True)
class Behaviour:
    """The trained behavioural part."""

    config: SpokeConfig
    model: BehaviourModel
    known_items: tuple[str, ...]  # items with an ID residual of their own; the i-th has row i + 1 of the ID table
    features: ItemFeatures = field(default_factory=ItemFeatures)  # attributes and statistics as fitted at training

    def inputs(self, item_ids: Sequence[str], encoded: EncodedItems, items: pl.DataFrame | None = None) -> ItemInputs:
        """Inputs of any catalog's items, with their rows of the item table where attributes are read."""
        known = id_rows(item_ids, self.known_items)
        return self.model.inputs(encoded, known, self.features.encode(item_ids, items))


@dataclass(frozen=True)
class Spoke:
    """A recommender of one domain: the hub's content space, and behaviour where it has been trained."""

    fusion: BaseFusion  # the hub's, or the identity where the config takes none of it
    hub_fingerprint: str
    space: ContentSpace  # calibrations of the domain's catalog
    behaviour: Behaviour | None  # None for the launch floor
    mixture: Mixture  # how the parts are weighed
    trend: Trend | None = None  # how often items were taken lately, where the mixture asks for it

    @property
    def width(self) -> int:
        """Columns of the transformer's item vectors, which come first, before the cold flag; 0 for the launch floor."""
        return self.behaviour.config.transformer.dimension if self.behaviour else 0

    @property
    def content(self) -> tuple[Modality, ...]:
        """The modalities that are read, wherever the catalog has them; the launch floor reads those of its space."""
        return self.behaviour.config.content if self.behaviour else modalities_of(self.space)

    @property
    def sessions(self) -> SessionSide:
        """What turns sessions into vectors."""
        behaviour = self.behaviour_sessions if self.behaviour else None
        spans = self.trend.spans if self.trend else ()
        return SessionSide(self.space, self.mixture, self.content, behaviour, self.width, spans)

    @property
    def behaviour_dimension(self) -> int:
        """Columns before content; see `SessionSide`."""
        return self.sessions.behaviour_dimension

    @property
    def dimension(self) -> int:
        """Columns of an item vector."""
        return self.sessions.dimension

    @property
    def heads(self) -> dict[str, int]:
        """Last layers that are adapted, by encoder; what `Hub.encode_items` is asked for along with the vectors."""
        return self.behaviour.config.heads if self.behaviour else {}

    @property
    def reads_attributes(self) -> bool:
        """Whether item vectors depend on brand, category, price and attributes beyond what the text says of them."""
        return self.behaviour is not None and self.behaviour.features.vocabulary is not None

    @property
    def space_fingerprint(self) -> str:
        """SHA-256 over everything that decides an item vector: hub, calibration, weights, known items, features."""
        digest = hashlib.sha256(f"{self.hub_fingerprint}|{self.space.fingerprint}|{self.dimension}".encode())
        if self.trend:
            digest.update(json.dumps([self.trend.spans, self.trend.item_ids]).encode() + self.trend.counts.tobytes())
        if self.behaviour:
            digest.update(json.dumps(self.behaviour.known_items).encode())
            for name, fitted in self.behaviour.features.fingerprints.items():
                digest.update(f"{name}|{fitted}".encode())
            # Under the names that weights had when the first fingerprints were stored.
            weights = {
                f"trunks.{name.removeprefix(PREFIX)}" if name.startswith(PREFIX) else name: weight
                for name, weight in self.behaviour.model.state_dict().items()
            }
            for name, weight in sorted(weights.items()):
                digest.update(name.encode())
                digest.update(weight.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def embed_items(
        self, item_ids: Sequence[str], encoded: EncodedItems, items: pl.DataFrame | None = None
    ) -> FloatArray:
        """(N, D) item vectors of any items, seen in training or not; `items` as in `Behaviour.inputs`."""
        content = np.zeros((len(encoded), 0), np.float32)
        if self.space.dimension:
            content = self.space.embed(self.fusion.fuse(encoded.only(self.content)))  # (N, R)
        if self.behaviour is None:
            return content
        inputs = self.behaviour.inputs(item_ids, encoded, items)
        cold = (inputs.id_rows == UNKNOWN_ID_ROW).cpu().numpy().astype(np.float32)
        trend = [self.trend.columns(item_ids)] if self.trend else []
        return np.concatenate([self.behaviour.model.item_vectors(inputs), cold[:, None], *trend, content], axis=1)

    def attribute_vectors(self, item_ids: Sequence[str], items: pl.DataFrame) -> FloatArray | None:
        """(N, W) what the attribute encoder adds to item vectors; None where no attributes are read."""
        if self.behaviour is None or not self.reads_attributes:
            return None
        return self.behaviour.model.attribute_vectors(self.behaviour.features.encode(item_ids, items))

    def embed_sessions(
        self, item_vectors: FloatArray, histories: Histories, *, exclude_seen: bool = False
    ) -> FloatArray:
        """(B, D) session vectors under a serving policy; see `SessionSide.embed`."""
        return self.sessions.embed(item_vectors, histories, exclude_seen=exclude_seen)

    def embed_query(self, encoded: EncodedItems, image_share: float | None = None) -> FloatArray:
        """(D,) vector of what somebody looks for, one encoded item, whose products with items tell how alike they are.

        By content alone: who looks for something says what it is, not what is usually taken with it.
        """
        return self.sessions.content_query(self.space.embed(self.fusion.fuse(encoded))[0], image_share)

    def behaviour_sessions(self, item_vectors: FloatArray, histories: Histories) -> FloatArray:
        """(B, D') session embeddings of the behavioural part, (B, 0) for the launch floor."""
        if self.behaviour is None:
            return np.zeros((len(histories), 0), np.float32)
        return self.behaviour.model.session_vectors(np.ascontiguousarray(item_vectors[:, : self.width]), histories)

    def recommender(self, name: str, item_vectors: FloatArray, *, exclude_seen: bool = False) -> VectorRecommender:
        """This spoke over a catalog, behind the recommender interface."""
        return VectorRecommender(
            name,
            item_vectors,
            lambda histories: self.embed_sessions(item_vectors, histories, exclude_seen=exclude_seen),
            None if exclude_seen else lambda history: self.mixture.hidden(history, exclude_seen),
            (lambda history: self.mixture.lifted(history, exclude_seen))
            if self.mixture.weights(exclude_seen).repeat
            else None,
        )

    def save(self, directory: Path) -> None:
        """Write the spoke without its hub: configs as JSON, weights as safetensors, the adapter alone in `adapter/`."""
        save_arrays(self.space.tensors() or {"empty": np.zeros(1, np.float32)}, directory / "content_space.safetensors")
        about = {"hub_fingerprint": self.hub_fingerprint, "mixture": self.mixture.model_dump()}
        (directory / "spoke.json").write_text(json.dumps(about, indent=2), encoding="utf-8")
        if self.behaviour is None:
            return
        (directory / "config.json").write_text(self.behaviour.config.model_dump_json(indent=2), encoding="utf-8")
        known = json.dumps(self.behaviour.known_items, ensure_ascii=False)
        (directory / "known_items.json").write_text(known, encoding="utf-8")
        self.behaviour.features.save(directory)
        if self.trend:
            self.trend.save(directory)
        model = self.behaviour.model
        weights = {n: w.cpu().contiguous() for n, w in model.state_dict().items() if not n.startswith(SAVED_APART)}
        save_file(weights, directory / "behaviour.safetensors")
        if self.behaviour.config.lora and model.content is not None:
            save_adapter(model.content.fusion, directory / "adapter")
        if model.adapted_encoders is not None:
            model.adapted_encoders.save(directory)

    @classmethod
    def load(cls, directory: Path, hub: Hub) -> Spoke:
        """Read a spoke onto its hub; on another one, IncompatibleError."""
        try:
            about = json.loads((directory / "spoke.json").read_text(encoding="utf-8"))
            made_on, mixture = str(about["hub_fingerprint"]), Mixture.model_validate(about["mixture"])
            space = ContentSpace.from_tensors(load_arrays(directory / "content_space.safetensors"))
            if made_on != hub.fingerprint:
                raise IncompatibleError(
                    f"the spoke was made on a hub of embedding space {made_on[:12]} but is loaded onto "
                    f"{hub.fingerprint[:12]}; load it with its own hub or train it on this one."
                )
            trained = any((directory / name).exists() for name in ("config.json", "behaviour.safetensors"))
            behaviour = _load_behaviour(directory, hub, space) if trained else None
            trend = Trend.load(directory)
        except (SafetensorError, RuntimeError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise CorruptArtifactError(
                f"the spoke in {directory} cannot be read ({type(error).__name__}); train it with --force."
            ) from error
        fusion = fusion_of(hub, behaviour.config) if behaviour else hub.fusion
        return cls(fusion, made_on, space, behaviour, mixture, trend)


def launch_floor(hub: Hub, space: ContentSpace) -> Spoke:
    """The hub's zero-shot recommender of a catalog: no training, no events."""
    return Spoke(hub.fusion, hub.fingerprint, space, None, floor_mixture(*floor_settings(hub, space)))


def fusion_of(hub: Hub, config: SpokeConfig) -> BaseFusion:
    """The fusion that a spoke stands on."""
    return hub.fusion if config.hub_fusion else untaught(hub.fusion)


def floor_settings(hub: Hub, space: ContentSpace, learned: bool = True) -> tuple[FloorSettings, FloorSettings]:
    """How content reads a session before any behaviour is known: with seen items ranked, then with them filtered.

    Not as the hub learned it unless `learned`.
    """
    config = hub.config
    recency = space.image_share(config), config.recency_decay, config.recent_events
    fixed = reading_of_seen(config)
    return FloorSettings(*recency, fixed), FloorSettings(*recency, hub.reading if learned else fixed)


def id_rows(item_ids: Sequence[str], known_items: Sequence[str]) -> IntArray:
    """(N,) row of each item in the ID table; `[UNK]` for those without one of their own."""
    place = {item: row for row, item in enumerate(known_items, 1)}
    return np.array([place.get(item, UNKNOWN_ID_ROW) for item in item_ids], dtype=np.int64)


def _load_behaviour(directory: Path, hub: Hub, space: ContentSpace) -> Behaviour:
    config = SpokeConfig.from_stored(json.loads((directory / "config.json").read_text(encoding="utf-8")))
    known = tuple(json.loads((directory / "known_items.json").read_text(encoding="utf-8")))
    base = fusion_of(hub, config)
    fusion = load_adapter(base, directory / "adapter") if config.lora else base
    features = ItemFeatures.load(directory, config)
    adapted = load_encoders(hub, config.heads, directory) if config.heads else None
    model = BehaviourModel(config, fusion, space, len(known), features, adapted)
    missing, unexpected = model.load_state_dict(load_file(directory / "behaviour.safetensors"), strict=False)
    if unexpected or any(not name.startswith(SAVED_APART) for name in missing):
        raise CorruptArtifactError(f"the spoke in {directory} lacks weights ({missing[:3]}); train it with --force.")
    return Behaviour(config, model.eval(), known, features)
