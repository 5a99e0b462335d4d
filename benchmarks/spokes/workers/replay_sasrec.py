"""RePlay's SASRec (github.com/sb-ai-lab/RePlay) on CPU: Lightning over its Parquet batches, shared negatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.spokes.workers.link import Link, main

BUCKET = 32
ITEM = "item_id"


def train(link: Link) -> None:
    """Train until told to stop."""
    import lightning
    from replay.nn.lightning import LightningModule
    from replay.nn.lightning.optimizer import OptimizerFactory

    asked = link.settings
    lightning.seed_everything(asked["seed"])
    model = _model(asked)
    trainer = lightning.Trainer(
        max_epochs=asked["epochs"],
        accelerator="cpu",
        devices=1,
        deterministic=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        limit_val_batches=0,
        callbacks=[_asking(link)],
    )
    module = LightningModule(model, optimizer_factory=OptimizerFactory(learning_rate=asked["learning_rate"]))
    trainer.fit(module, datamodule=_batches(link))


def _schema(asked: dict[str, Any]) -> Any:
    from replay.data import FeatureHint, FeatureSource, FeatureType
    from replay.data.nn import TensorFeatureInfo, TensorFeatureSource, TensorSchema

    return TensorSchema(
        [
            TensorFeatureInfo(
                ITEM,
                is_seq=True,
                feature_type=FeatureType.CATEGORICAL,
                embedding_dim=asked["shape"]["dimension"],
                padding_value=asked["n_items"],
                cardinality=asked["n_items"],
                feature_hint=FeatureHint.ITEM_ID,
                feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, ITEM)],
            )
        ]
    )


def _model(asked: dict[str, Any]) -> Any:
    from replay.nn.loss import CESampled
    from replay.nn.sequential import SasRec
    from replay.nn.sequential.length_bucket import LengthBucketedQueryEncoder

    shape = asked["shape"]
    model = SasRec.from_params(
        _schema(asked),
        embedding_dim=shape["dimension"],
        num_heads=shape["heads"],
        num_blocks=shape["blocks"],
        max_sequence_length=asked["max_length"],
        dropout=shape["dropout"],
        hidden_dim=shape["expansion"] * shape["dimension"],
    )
    # The classmethod knows full cross-entropy only; its guide sets a sampled loss in this way.
    model.loss = CESampled()
    model.loss.logits_callback = model.get_logits
    if asked["variant"] == "bucketed":
        model.body.encoder = LengthBucketedQueryEncoder(model.body.encoder, BUCKET)
    return model


def _batches(link: Link) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from replay.data.nn.parquet import ParquetModule
    from replay.nn.transform import UniformNegativeSamplingTransform
    from replay.nn.transform.template import make_default_sasrec_transforms

    asked, path = link.settings, link.folder / "training.parquet"
    length = asked["max_length"] + 1
    pq.write_table(pa.table({ITEM: [row[-length:] for row in link.training]}), path)
    transforms = make_default_sasrec_transforms(_schema(asked))
    transforms["train"].append(UniformNegativeSamplingTransform(asked["n_items"], asked["negatives"]))
    return ParquetModule(
        batch_size=asked["batch"],
        metadata={"train": {ITEM: {"shape": length, "padding": asked["n_items"]}}},
        transforms={"train": transforms["train"]},
        train_path=str(path),
    )


def _asking(link: Link) -> Any:
    import lightning

    class Ask(lightning.Callback):
        """Has the weights judged after an epoch."""

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            link.start(sum(p.numel() for p in pl_module.parameters() if p.requires_grad))

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            done = trainer.current_epoch + 1
            if done % link.settings["validate_every"]:
                return
            pl_module.eval()
            trainer.should_stop = not link.validated(done, lambda histories: _scores(link, pl_module.model, histories))
            pl_module.train()

    return Ask()


def _scores(link: Link, model: Any, histories: Sequence[np.ndarray]) -> np.ndarray:
    """(B, N) scores of the catalog."""
    import torch

    length, padding = link.settings["max_length"], link.settings["n_items"]
    x = np.full((len(histories), length), padding)
    for row, history in zip(x, histories, strict=True):
        row[length - len(history) :] = history
    items = torch.from_numpy(x)
    with torch.no_grad():
        logits = model(feature_tensors={ITEM: items}, padding_mask=items != padding)["logits"]
    found: np.ndarray = logits.numpy()
    return found


if __name__ == "__main__":
    main(train, ("replay-rec", "torch", "lightning"))
