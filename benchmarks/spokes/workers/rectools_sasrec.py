"""RecTools' SASRec (github.com/MobileTeleSystems/RecTools) on CPU: its Lightning training, loss by variant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.spokes.workers.link import Link, main

PAD = 0


def train(link: Link) -> None:
    """Train until told to stop."""
    import pandas as pd
    from pytorch_lightning import seed_everything
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel
    from rectools.models.nn.item_net import IdEmbeddingsItemNet

    _Listening.link = link
    asked, shape = link.settings, link.settings["shape"]
    loss, _, real = asked["variant"].partition(" ")
    seed_everything(asked["seed"])
    lengths = [len(row) for row in link.training]
    frame = pd.DataFrame(
        {
            Columns.User: np.repeat(np.arange(len(lengths)), lengths),
            Columns.Item: np.concatenate(link.training),
            Columns.Weight: 1,
            Columns.Datetime: pd.to_datetime(np.concatenate([np.arange(n) for n in lengths]), unit="s"),
        }
    )
    model = SASRecModel(
        n_factors=shape["dimension"],
        n_blocks=shape["blocks"],
        n_heads=shape["heads"],
        dropout_rate=shape["dropout"],
        session_max_len=asked["max_length"],
        lr=asked["learning_rate"],
        batch_size=asked["batch"],
        epochs=asked["epochs"],
        loss=loss,
        n_negatives=asked["negatives"],
        item_net_block_types=(IdEmbeddingsItemNet,),
        deterministic=False,
        dataloader_num_workers=0,
        get_trainer_func=_trainer,
        **({"similarity_module_type": _real_positions()} if real else {}),
    )
    _Listening.model = model
    model.fit(Dataset.construct(frame))


def _real_positions() -> type:
    """RecTools' scores of targets and negatives where there is an event; padding, which its loss ignores, gets none.

    The loss and its gradients are the same. What is left out is most of the work of short sequences.
    """
    import torch
    from rectools.models.nn.transformers.similarity import DistanceSimilarityModule

    class RealPositions(DistanceSimilarityModule):  # type: ignore[misc]
        def _get_pos_neg_logits(
            self, session_embs: torch.Tensor, item_embs: torch.Tensor, candidate_item_ids: torch.Tensor
        ) -> torch.Tensor:
            real = candidate_item_ids[..., 0] != PAD
            # One product with the catalog and a choice of its columns, instead of a copy of every negative's vector.
            scores = (session_embs[real] @ item_embs.T).gather(1, candidate_item_ids[real])
            logits = torch.zeros(candidate_item_ids.shape, dtype=scores.dtype, device=scores.device)
            logits[real] = scores
            return logits

    return RealPositions


class _Listening:
    """What the trainer's callback needs and cannot be given: RecTools copies the trainer and writes its arguments."""

    model: Any = None
    link: Link


def _trainer() -> Any:
    from pytorch_lightning import Callback, Trainer

    class Ask(Callback):
        """Has the weights judged after an epoch."""

        def on_train_start(self, trainer: Any, module: Any) -> None:
            _Listening.link.start(sum(p.numel() for p in module.parameters() if p.requires_grad))

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            done = trainer.current_epoch + 1
            if done % _Listening.link.settings["validate_every"]:
                return
            module.eval()
            trainer.should_stop = not _Listening.link.validated(done, lambda histories: scores(module, histories))
            module.train()

    return Trainer(
        max_epochs=_Listening.link.settings["epochs"],
        min_epochs=1,
        accelerator="cpu",
        devices=1,
        deterministic=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=[Ask()],
    )


def scores(module: Any, histories: Sequence[np.ndarray]) -> np.ndarray:
    """(B, N) scores of the catalog; -inf for items that its training never met."""
    import torch

    prepared = _Listening.model.data_preparator
    known = np.asarray(prepared.item_id_map.external_ids[prepared.n_item_extra_tokens :], np.int64)
    rows = np.zeros(_Listening.link.settings["n_items"], np.int64)  # of an unknown item: padding
    rows[known] = np.arange(len(known)) + prepared.n_item_extra_tokens
    length = _Listening.link.settings["max_length"]
    x = np.full((len(histories), length), PAD)
    for row, history in zip(x, histories, strict=True):
        met = rows[history]
        met = met[met != PAD][-length:]
        row[length - len(met) :] = met
    out = np.full((len(histories), len(rows)), -np.inf, np.float32)
    with torch.no_grad():
        items = module.torch_model.item_model.get_all_embeddings()
        sessions = module.torch_model.encode_sessions({"x": torch.from_numpy(x)}, items)[:, -1]
        out[:, known] = (sessions @ items.T).numpy()[:, rows[known]]
    return out


if __name__ == "__main__":
    main(train, ("rectools", "torch", "pytorch-lightning"))
