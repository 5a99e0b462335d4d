"""This package's SASRec over IDs, with its own defaults for batches."""

from __future__ import annotations

import numpy as np
from hubspoke.catalog.sequences import Sequences
from hubspoke.spokes.model import BehaviourModel
from hubspoke.spokes.training.loop import train_behaviour

from benchmarks.spokes.ids import ids_config, make_spoke
from benchmarks.spokes.workers.link import Link, main


class _ToldToStopError(Exception):
    """Enough was seen."""


def train(link: Link) -> None:
    """Train until told to stop."""
    import torch

    asked, shape = link.settings, link.settings["shape"]
    config = ids_config(
        None,
        asked["own"],
        seed=asked["seed"],
        transformer=shape | {"max_length": asked["max_length"]},
        training={
            "max_epochs": asked["epochs"],
            "validate_every": asked["validate_every"],
            "patience": asked["epochs"],
            "negatives": asked["negatives"],
            "learning_rate": asked["learning_rate"],
        },
    )
    spoke = make_spoke(config, _sequences(link), torch.device("cpu"))
    done = 0

    def progress(epochs: int, _: int) -> None:
        nonlocal done
        done = epochs

    def validate(_: BehaviourModel) -> float:
        if not link.validated(done, spoke.recommender().score):
            raise _ToldToStopError
        return 0.0

    link.start(sum(p.numel() for p in spoke.model.parameters() if p.requires_grad))
    try:
        train_behaviour(spoke.model, spoke.inputs, _sequences(link), config, validate=validate, progress=progress)
    except _ToldToStopError:
        return


def _sequences(link: Link) -> Sequences:
    lengths = [len(row) for row in link.training]
    return Sequences(
        items=np.concatenate(link.training),
        timestamps=np.arange(sum(lengths), dtype=np.int64),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        users=np.arange(len(lengths)),
        user_ids=tuple(map(str, range(len(lengths)))),
        n_items=link.settings["n_items"],
    )


if __name__ == "__main__":
    main(train, ("hubspoke", "torch"))
