"""One process of a training of encoders by several: trains tiny ones and writes their weights and losses."""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from hubspoke.hub.adapters.states import item_states
from hubspoke.hub.cache import EmbeddingCache, text_hashes
from hubspoke.hub.config import HubConfig
from hubspoke.hub.content import fit_content_space
from hubspoke.hub.devices import pick_device
from hubspoke.hub.distributed import joined
from hubspoke.hub.model import Hub
from hubspoke.hub.training.encoders import train_encoders
from hubspoke.hub.training.examples import EncoderExamples
from hubspoke.hub.training.views import two_views
from safetensors.torch import save_file

SETTINGS = {"steps": 6, "batch_size": 5, "learning_rate": 1e-2, "rank": 4, "text_layers": 1, "temperature": 0.2}
CASES = {
    "bounded": {},
    "info_nce and views": {"objectives": ["info_nce", "views"], "hard_negatives": 2},
    "whole": {"rank": None},
}


def train(settings, world=None):
    """Weights and losses of a training on 18 titles."""
    given = {"text": {"name": "tiny"}, "image": None, "fusion": {"hidden": 8}, "encoders": SETTINGS | settings}
    hub = Hub(HubConfig.model_validate(given), device="cpu")
    titles = [f"{('red', 'blue', 'green')[row % 3]} {row % 5} {row} vase" for row in range(18)]
    items = pl.DataFrame({"item_id": [str(row) for row in range(18)], "title": titles})
    pairs = np.array([[a, b] for a in range(18) for b in range(a + 3, 18, 3)], np.int64)
    with tempfile.TemporaryDirectory() as folder:
        cache, counts = EmbeddingCache(Path(folder)), np.ones(18, np.int64)
        encoded = hub.encode_items(items, [[] for _ in titles], cache, heads={"text": 1})
        dealt = two_views(items, ("title",), 0)
        views = tuple(item_states(hub.text, 1, own, text_hashes(own), counts, cache) for own in dealt)
    space = fit_content_space(hub.fusion.fuse(encoded), hub.config)
    examples = EncoderExamples(encoded, space, pairs, pairs, np.arange(18) % 2, views)
    return train_encoders(hub, [examples], world=world)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    with joined(str(pick_device("cpu"))) as world:
        for name, settings in CASES.items():
            weights, losses = train(settings, world)
            save_file({key: own.contiguous() for key, own in weights["text"].items()}, out / f"{name}-{world.rank}")
            (out / f"{name}-{world.rank}.json").write_text(json.dumps(losses))
