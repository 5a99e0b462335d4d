"""One process of a training by several: trains tiny spokes and writes their weights."""

import json
import os
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from hubspoke.catalog.sequences import Sequences
from hubspoke.catalog.streams import SequenceStream, SessionFiles
from hubspoke.hub.adapters.adapted import adapt_encoders
from hubspoke.hub.adapters.states import item_states
from hubspoke.hub.cache import EmbeddingCache, text_hashes
from hubspoke.hub.config import HubConfig
from hubspoke.hub.content import fit_content_space
from hubspoke.hub.fusion import EncodedItems
from hubspoke.hub.model import Hub
from hubspoke.hub.training.checkpoints import Checkpoints
from hubspoke.spokes.config import SpokeConfig
from hubspoke.spokes.model import BehaviourModel
from hubspoke.spokes.training.loop import train_behaviour
from hubspoke.spokes.training.objective import Objective
from hubspoke.spokes.training.stability import Anchors, Hold, fisher_diagonal
from safetensors.torch import save_file

N = 12
HUB = HubConfig.model_validate({"text": {"name": "tiny"}, "image": {"name": "tiny"}, "fusion": {"hidden": 8}})
SHAPE = {"dimension": 8, "heads": 2, "max_length": 6, "dropout": 0.0}
TRAINING = {"max_epochs": 3, "validate_every": 1, "tokens_per_batch": 32, "negatives": 8, "learning_rate": 1e-2}


def config(encoder_adapter=None, held=False, **training):
    shape = {"transformer": SHAPE, "adapter": None, "encoder_adapter": encoder_adapter, "id_dropout": 0.0, "seed": 5}
    shape["stability"] = {"anchor": 3.0 * held, "consolidation": 300.0 * held}
    return SpokeConfig.model_validate({**shape, "training": TRAINING | training})


def sequences(lengths=(2, 3, 3, 4, 4, 4, 5, 6, 7, 9), n_items=N):
    """Sessions of so many events; the long ones are alone in their batch."""
    owners, n = np.arange(len(lengths)), sum(lengths)
    items, offsets = np.random.default_rng(0).integers(n_items, size=n), np.cumsum([0, *lengths])
    return Sequences(items, np.arange(n), offsets, owners, tuple(f"u{i}" for i in owners), n_items)


def words(hub):
    """States of titles of one to three words, one item without any."""
    titles = [" ".join(["red", "green", "blue", str(row % 4)][row % 3 :]) for row in range(N - 1)]
    with tempfile.TemporaryDirectory() as folder:
        counts = (np.arange(N) > 0).astype(np.int64)
        return item_states(hub.text, 1, titles, text_hashes(titles), counts, EmbeddingCache(Path(folder)))


def train(settings, seed=0, validate=None, source=None, **how):
    """A tiny training from start to end: its model and what it did."""
    torch.manual_seed(seed)
    rng, hub = np.random.default_rng(0), Hub(HUB, device="cpu")
    encoded = EncodedItems(*(rng.standard_normal((N, 32)).astype(np.float32) for _ in range(2)))
    if settings.heads:
        encoded = replace(encoded, states={"text": words(hub)})
    # Fitted on more vectors than they have columns: a column that is rounding would teach its weight rounding alone.
    many = EncodedItems(*(rng.standard_normal((128, 32)).astype(np.float32) for _ in range(2)))
    space = fit_content_space(hub.fusion.fuse(many), hub.config)
    adapted = adapt_encoders(hub, settings.heads, 2, settings.seed) if settings.heads else None
    model = BehaviourModel(settings, hub.fusion, space, N, encoders=adapted)
    inputs, source = model.inputs(encoded, np.arange(1, N + 1)), source or sequences()
    if settings.stability.anchor:
        fisher = fisher_diagonal(model, inputs, source, settings, ["transformer.positions"])
        how["hold"] = Hold(model, inputs, settings, Anchors(np.arange(4), model.item_vectors(inputs)[:4] + 1), fisher)
    return model, train_behaviour(model, inputs, source, settings, validate=validate, **how)


def same(one, other):
    return all(torch.equal(weight, other.state_dict()[name]) for name, weight in one.state_dict().items())


def score(model):
    """Some number that weights decide and that no other rank is asked for."""
    assert int(os.environ.get("RANK", "0")) == 0
    return float(-model.ids.weight.detach().abs().sum())


@contextmanager
def interrupted(before, begun):
    """Trainings end before the epoch of this number as if by Ctrl-C; `begun` gets the epochs that were begun."""
    start = Objective.start

    def start_or_die(self, epoch):
        if epoch == before:
            raise KeyboardInterrupt
        begun.append(epoch)
        start(self, epoch)

    Objective.start = start_or_die
    try:
        yield
    finally:
        Objective.start = start


if __name__ == "__main__":
    out, cases, rank = Path(sys.argv[1]), json.loads(sys.argv[2]), int(os.environ["RANK"])
    for name, training in cases.items():
        # Every process starts from weights of its own; the first one's count. Where they are held all have the same.
        model, run = train(config(**training), seed=0 if "held" in training else rank, validate=score)
        save_file(dict(model.state_dict()), out / f"{name}-{rank}.safetensors")
        (out / f"{name}-{rank}.json").write_text(json.dumps([run.best_epoch, run.best_score]))
    model, _ = train(config(), source=SequenceStream(SessionFiles.open(out / "files"), 12))
    save_file(dict(model.state_dict()), out / f"streamed-{rank}.safetensors")
    begun = []
    with suppress(KeyboardInterrupt), interrupted(2, begun):
        train(config(), checkpoints=Checkpoints(out / "checkpoints", every=1))
    with interrupted(99, begun):
        model, _ = train(config(), checkpoints=Checkpoints(out / "checkpoints", every=1))
    save_file(dict(model.state_dict()), out / f"resumed-{rank}.safetensors")
    (out / f"begun-{rank}.json").write_text(json.dumps(begun))
