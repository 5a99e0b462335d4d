"""The session side of a spoke: what turns a shopper's events into a vector whose products with items are scores.

It is all of a spoke that answers a shopper. Read from a stored spoke it takes neither torch nor the hub.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ..arrays import FloatArray
from ..catalog.sequences import Histories
from ..errors import CorruptArtifactError
from ..hub.content import ContentSpace
from .config import MODALITIES, Modality
from .features.trend import Trend
from .mixture import Mixture
from .session_transformer import SessionTransformer


@dataclass(frozen=True)
class SessionSide:
    """How sessions become vectors, and which columns of the item vectors mean what."""

    space: ContentSpace
    mixture: Mixture
    content: tuple[Modality, ...]  # the modalities that are read
    # (B, W) session embeddings of the behavioural part by (N, W) item vectors; None for the launch floor.
    behaviour: Callable[[FloatArray, Histories], FloatArray] | None = None
    width: int = 0  # W, columns of the transformer's item vectors, which come first, before the cold flag
    spans: tuple[int, ...] = ()  # days that the columns of the trend count, 0 for all of the training
    transformer: SessionTransformer | None = None  # of a stored spoke, for sessions that are followed event by event

    @property
    def behaviour_dimension(self) -> int:
        """Columns before content: the transformer's, the cold flag, the trend; 0 for the launch floor."""
        return self.width + 1 + len(self.spans) if self.behaviour else 0

    @property
    def dimension(self) -> int:
        """Columns of an item vector, D."""
        return self.behaviour_dimension + self.space.dimension

    def embed(
        self,
        item_vectors: FloatArray,
        histories: Histories,
        *,
        exclude_seen: bool = False,
        behaviour: FloatArray | None = None,
    ) -> FloatArray:
        """(B, D) session vectors under a serving policy for histories of rows of the items; zero for an empty one.

        `behaviour` (B, W) holds the embeddings of the behavioural part, where they are known already.
        """
        weights = self.mixture.weights(exclude_seen)
        content = weights.reader(self.space).read(item_vectors[:, self.behaviour_dimension :], histories)
        content = content * (weights.content * self.space.modality_weights(weights.image_share))
        if self.behaviour is None:
            return content.astype(np.float32)
        sessions = behaviour
        if sessions is None:
            sessions = self.behaviour(np.ascontiguousarray(item_vectors[:, : self.width]), histories)
        started = np.array([[len(history) > 0] for history in histories], np.float32).reshape(-1, 1)
        trends = np.array([weights.trend * (days == weights.trend_days) for days in self.spans], np.float32)
        parts = [weights.behaviour * sessions, weights.cold * started, trends * started, content]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def content_query(self, content: FloatArray, image_share: float | None = None) -> FloatArray:
        """(D,) vector whose products with items tell how alike their contents are to a content embedding (R,).

        `image_share`, from 0 to 1, is what pictures weigh in it; by default what they weigh for sessions.
        """
        share = self.mixture.seen_filtered.image_share if image_share is None else image_share
        query = np.zeros(self.dimension, np.float32)
        query[self.behaviour_dimension :] = content * self.space.modality_weights(share)
        if self.space.crowding:  # how crowded it is says nothing of what it is
            query[self.behaviour_dimension :][self.space.columns["crowding"]] = 0.0
        return query

    @classmethod
    def load(cls, directory: Path) -> SessionSide:
        """Read the session side of a stored spoke or launch floor."""
        try:
            about = json.loads((directory / "spoke.json").read_text(encoding="utf-8"))
            mixture = Mixture.model_validate(about["mixture"])
            space = ContentSpace.from_tensors(load_file(directory / "content_space.safetensors"))
            if not (directory / "config.json").exists():
                return cls(space, mixture, modalities_of(space))
            model, trend = SessionTransformer.load(directory), Trend.load(directory)
        except (SafetensorError, OSError, ValueError, TypeError, KeyError, IndexError) as error:
            raise CorruptArtifactError(
                f"the spoke in {directory} cannot be read ({type(error).__name__}); train it with --force."
            ) from error
        width, spans = model.config.transformer.dimension, trend.spans if trend else ()
        return cls(space, mixture, model.config.content, model.session_vectors, width, spans, model)


def modalities_of(space: ContentSpace) -> tuple[Modality, ...]:
    """What a launch floor reads: all that its space has."""
    return tuple(name for name in MODALITIES if getattr(space, name) is not None)
