"""A tiny catalog with a hub's fusion over it, and sequences written by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hubspoke.catalog.schema import ITEM_SCHEMA
from hubspoke.catalog.sequences import Sequences
from hubspoke.hub.config import HubConfig
from hubspoke.hub.content import ContentSpace, fit_content_space
from hubspoke.hub.fusion import EncodedItems
from hubspoke.hub.model import Hub
from hubspoke.spokes.config import SpokeConfig
from hubspoke.spokes.features.attributes import fit_vocabulary
from hubspoke.spokes.features.items import ItemFeatures
from hubspoke.spokes.features.statistics import ItemStatistics
from hubspoke.spokes.mixture import Mixture, MixtureWeights
from hubspoke.spokes.model import BehaviourModel, ItemInputs
from hubspoke.spokes.spoke import Behaviour, Spoke, launch_floor

MakeSequences = Callable[..., Sequences]

HUB = HubConfig.model_validate({"text": {"name": "tiny"}, "image": {"name": "tiny"}, "fusion": {"hidden": 8}})
WEIGHTS = {"image_share": 0.3, "recency_decay": 0.8, "recent_events": 3}
MIXTURE = Mixture(
    seen_ranked=MixtureWeights(behaviour=1.0, content=2.5, cold=0.75, **WEIGHTS),
    seen_filtered=MixtureWeights(behaviour=1.0, content=4.0, image_share=0.6, recency_decay=0.5, recent_events=5),
)
STATISTICS = ItemStatistics(("view",), ("item 1", "item 4"), np.float32([[1.0], [-1.0]]), np.float32([-2.0]))


@pytest.fixture(scope="session")
def sequences() -> MakeSequences:
    def make(*rows: list[int], n_items: int = 6, users: list[int] | None = None) -> Sequences:
        events = np.array([item for row in rows for item in row], np.int64)
        offsets = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int64)
        numbers = list(range(len(rows))) if users is None else users
        names = tuple(f"u{i}" for i in range(max(numbers, default=-1) + 1))
        times = np.arange(len(events), dtype=np.int64)
        return Sequences(events, times, offsets, np.array(numbers, np.int64), names, n_items)

    return make


@pytest.fixture
def hub() -> Hub:
    """A hub of tiny encoders whose fusion has been moved away from the identity."""
    made = Hub(HUB, device="cpu")
    torch.nn.init.normal_(made.fusion.up.weight, std=0.05, generator=torch.Generator().manual_seed(1))
    return made


@pytest.fixture(scope="session")
def encoded() -> EncodedItems:
    """Twelve items; the second has no text, the third no picture, the fourth neither."""
    rng = np.random.default_rng(0)
    made = EncodedItems(*rng.standard_normal((2, 12, 32)).astype(np.float32))
    made.text[[1, 3]] = 0
    made.image[[2, 3]] = 0
    return made


@pytest.fixture
def space(hub: Hub, encoded: EncodedItems) -> ContentSpace:
    return fit_content_space(hub.fusion.fuse(encoded), hub.config)


@pytest.fixture
def item_ids() -> list[str]:
    return [f"item {i}" for i in range(12)]


@pytest.fixture
def floor(hub: Hub, space: ContentSpace) -> Spoke:
    return launch_floor(hub, space)


@pytest.fixture
def items(item_ids: list[str]) -> pl.DataFrame:
    """The item table: three brands, and a price of its own for each item."""
    blank = dict.fromkeys(ITEM_SCHEMA) | {"attributes": []}
    own = [{"item_id": item_ids[n], "brand": f"brand {n % 3}", "price": float(n)} for n in range(12)]
    return pl.DataFrame([blank | row for row in own], schema=ITEM_SCHEMA)


@pytest.fixture
def build(hub: Hub, encoded: EncodedItems, item_ids: list[str], items: pl.DataFrame) -> Callable[..., Spoke]:
    """Spokes of the catalog under any config, with weights moved from their start to where a training might leave them:
    items 0 to 8 have an ID residual, in another order than the catalog's."""

    def make(*, moved: float = 0.3, space: ContentSpace | None = None, **config: Any) -> Spoke:
        shape = {"transformer": {"dimension": 8, "max_length": 5}, "adapter": {"rank": 2}}
        settings = SpokeConfig.model_validate({**shape, **config})
        vocabulary = fit_vocabulary(items, settings.attributes) if settings.attributes else None
        features = ItemFeatures(vocabulary, STATISTICS if settings.statistics else None)
        own = space or fit_content_space(hub.fusion.fuse(encoded.only(settings.content)), hub.config)
        torch.manual_seed(0)
        model = BehaviourModel(settings, hub.fusion, own, 9, features).eval()
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.requires_grad:
                    weight.add_(torch.randn(weight.shape, generator=generator) * moved)
        known = tuple(reversed(item_ids[:9]))
        return Spoke(hub.fusion, hub.fingerprint, own, Behaviour(settings, model, known, features), MIXTURE)

    return make


@pytest.fixture
def spoke(build: Callable[..., Spoke]) -> Spoke:
    return build(moved=0.1)


@pytest.fixture
def cycle(sequences: MakeSequences) -> Sequences:
    """Sessions in which item i + 1 follows item i, for ever."""
    return sequences(*[[(start + step) % 12 for step in range(8)] for start in range(12)], n_items=12)


@pytest.fixture(scope="session")
def known_by_heart() -> Callable[..., float]:
    """The share of the cycle's twelve questions that a model answers right."""

    def share(model: BehaviourModel, items: ItemInputs, length: int = 4) -> float:
        vectors = model.item_vectors(items)
        histories = [np.array([(start + step) % 12 for step in range(length)]) for start in range(12)]
        best = (model.session_vectors(vectors, histories) @ vectors.T).argmax(axis=1)
        return float((best == (np.arange(12) + length) % 12).mean())

    return share
