"""Categories to train encoders on: items whose first word says what they go with."""

import numpy as np
import polars as pl
import pytest
from hubspoke.hub.adapters.states import item_states
from hubspoke.hub.cache import EmbeddingCache, text_hashes
from hubspoke.hub.config import HubConfig
from hubspoke.hub.content import fit_content_space
from hubspoke.hub.model import Hub
from hubspoke.hub.training.encoders import trained_layers
from hubspoke.hub.training.examples import EncoderExamples
from hubspoke.hub.training.views import two_views

WORDS = ("red", "blue", "green", "garden")


@pytest.fixture
def hub_of():
    """A hub with these encoders and settings of their training."""

    def make(text="tiny", image=None, **training):
        given = {"steps": 30, "batch_size": 8, "learning_rate": 1e-2, "rank": 4, "text_layers": 1, **training}
        named = {"text": text and {"name": text}, "image": image and {"name": image}, "fusion": {"hidden": 8}}
        return Hub(HubConfig.model_validate({**named, "encoders": given}), device="cpu")

    return make


@pytest.fixture
def examples_of(noise, tmp_path):
    """What encoders learn from in a category of `n` items, whose pairs share their first word."""

    def make(hub, n=24, seed=0):
        rng, layers = np.random.default_rng(seed), trained_layers(hub, hub.config.encoders)
        other = [" ".join(rng.choice(["shirt", "shoe", "hose", "dog", "food", "a", "b", "c"], 5)) for _ in range(n)]
        titles = [f"{WORDS[row % 4]} {words}" for row, words in enumerate(other)]
        items = pl.DataFrame({"item_id": [str(row) for row in range(n)], "title": titles})
        pictures = [[noise[row % 5]] if row % 3 else [] for row in range(n)]
        cache = EmbeddingCache(tmp_path / "cache")
        encoded = hub.encode_items(items, pictures, cache, heads=layers)
        space = fit_content_space(hub.fusion.fuse(encoded), hub.config)
        pairs = np.array([[a, b] for a in range(n) for b in range(a + 4, n, 4)], np.int64)
        views = None
        if "text" in layers:
            counts = np.ones(n, np.int64)
            views = tuple(
                item_states(hub.text, layers["text"], own, text_hashes(own), counts, cache)
                for own in two_views(items, ("title",), 0)
            )
        return EncoderExamples(encoded, space, pairs, pairs, np.arange(n) % 2, views)

    return make
