"""RecBole's SASRec (github.com/RUCAIBox/RecBole) on CPU: a sequence per prefix, full cross-entropy, its own trainer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.spokes.workers.link import Link, main

BATCH = 2048
NAME = "training"


def train(link: Link) -> None:
    """Train until told to stop."""
    from recbole.config import Config
    from recbole.data import create_dataset
    from recbole.data.dataloader import TrainDataLoader
    from recbole.model.sequential_recommender import SASRec
    from recbole.trainer import Trainer
    from recbole.utils import init_seed

    asked = link.settings
    logging.disable(logging.WARNING)
    _write(link)
    config = Config(model="SASRec", dataset=NAME, config_dict=_settings(link))
    init_seed(asked["seed"], False)
    dataset = create_dataset(config)
    # All events are for training; what is ranked comes from outside.
    batches = TrainDataLoader(config, dataset.build()[0], None, shuffle=True)
    model = SASRec(config, dataset)
    trainer = Trainer(config, model)
    names = dataset.field2id_token["item_id"][1:].astype(np.int64)  # row 0 is padding
    link.start(sum(p.numel() for p in model.parameters() if p.requires_grad))
    for done in range(1, asked["epochs"] + 1):
        trainer._train_epoch(batches, done - 1)
        if done % asked["validate_every"] == 0:
            model.eval()
            if not link.validated(done, lambda histories: _scores(link, model, names, histories)):
                return


def _settings(link: Link) -> dict[str, Any]:
    asked, shape = link.settings, link.settings["shape"]
    return {
        "data_path": str(link.folder),
        "checkpoint_dir": str(link.folder),
        "use_gpu": False,
        "gpu_id": "",
        "worker": 0,
        "show_progress": False,
        "reproducibility": False,
        "seed": asked["seed"],
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "TIME_FIELD": "timestamp",
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "MAX_ITEM_LIST_LENGTH": asked["max_length"],
        "train_neg_sample_args": None,
        "loss_type": "CE",
        "epochs": asked["epochs"],
        "train_batch_size": BATCH,
        "learning_rate": asked["learning_rate"],
        "eval_args": {"split": {"RS": [1.0, 0.0, 0.0]}, "group_by": None, "order": "TO", "mode": "full"},
        "n_layers": shape["blocks"],
        "n_heads": shape["heads"],
        "hidden_size": shape["dimension"],
        "inner_size": shape["expansion"] * shape["dimension"],
        "hidden_dropout_prob": shape["dropout"],
        "attn_dropout_prob": shape["dropout"],
    }


def _write(link: Link) -> None:
    folder: Path = link.folder / NAME
    folder.mkdir()
    lines = (
        f"{user}\t{item}\t{place}\n" for user, items in enumerate(link.training) for place, item in enumerate(items)
    )
    text = "user_id:token\titem_id:token\ttimestamp:float\n" + "".join(lines)
    (folder / f"{NAME}.inter").write_text(text, encoding="utf-8")


def _scores(link: Link, model: Any, names: np.ndarray, histories: Sequence[np.ndarray]) -> np.ndarray:
    """(B, N) scores of the catalog; -inf for items that its training never met."""
    import torch

    rows = np.zeros(link.settings["n_items"], np.int64)
    rows[names] = np.arange(1, len(names) + 1)
    met = [rows[history] for history in histories]
    met = [own[own > 0][-link.settings["max_length"] :] for own in met]
    x = np.zeros((len(met), link.settings["max_length"]), np.int64)
    for row, own in zip(x, met, strict=True):
        row[: len(own)] = own
    lengths = torch.tensor([max(1, len(own)) for own in met])
    out = np.full((len(met), len(rows)), -np.inf, np.float32)
    with torch.no_grad():
        found = model.forward(torch.from_numpy(x), lengths) @ model.item_embedding.weight.T
    out[:, names] = found.numpy()[:, 1:]
    return out


if __name__ == "__main__":
    main(train, ("recbole", "torch"))
