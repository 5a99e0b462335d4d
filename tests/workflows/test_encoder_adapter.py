"""Spokes that adapt the last layers of their hub's encoders: from the command line to the index and back."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hubspoke.cli import cli
from hubspoke.workflows.datasets import load_dataset
from hubspoke.workflows.indexes import load_index
from hubspoke.workflows.loading import load_spoke
from hubspoke.workflows.workspace import Workspace

BOTH = {"rank": 2, "encoders": ["text", "image"], "learning_rate_factor": 1.0}


@pytest.fixture
def config(tiny_spoke: Any) -> dict[str, Any]:
    training = {**tiny_spoke["training"], "learning_rate": 0.01}
    return {**tiny_spoke, "training": training, "encoder_adapter": BOTH}


@pytest.fixture
def served(shop: Workspace, config: Any) -> Workspace:
    """The shop with a hub of two encoders, and lamps:2, which adapts both of them, live."""
    shop.hub.train(domains=[], config={"text": {"name": "tiny"}, "image": {"name": "tiny"}})
    made = shop.spoke.train("lamps", hub="hub:2", config=config, promote=True)
    assert (made.ref, made.index) == ("lamps:2", "index:lamps/2")
    return shop


def vectors(ws: Workspace, ref: str) -> dict[str, Any]:
    index = load_index(ws, ws.registry.indexes.get(ref)).index
    return dict(zip(index.item_ids, index.vectors(), strict=True))


def test_the_version_says_that_its_encoders_are_adapted(served: Workspace) -> None:
    record = served.registry.models.get("lamps:2")
    parts = {part.name: part for part in record.parts}
    assert parts["encoder adapter"].parameters == 2 * (32 + 32) + 2 * (64 + 32)
    edges = [edge for edge in served.registry.lineage.upstream("lamps:2").edges if edge.child == "lamps:2"]
    found = {edge.part: str(edge.reason) for edge in edges if edge.relation == "inherits"}
    assert all("adapter on its last layers" in found[f"{name} encoder"] for name in ("text", "image"))
    (adapted,) = [edge.reason for edge in edges if edge.relation == "adapted_from"]
    assert adapted == "LoRA on the base fusion; LoRA on the last layers of text and image"
    spoke, _ = load_spoke(served, record)
    assert spoke.heads == {"text": 1, "image": 1} and spoke.space_fingerprint == record.space_fingerprint


def test_it_is_indexed_recommended_explained_and_measured(served: Workspace) -> None:
    assert served.index.check("index:lamps/2").ok
    items = load_dataset(served, "lamps").items["item_id"]
    found = served.recommend("lamps", [items[0], items[1]], k=5)
    assert found.served_by == "lamps:2" and len(found.items) == 5
    explained = served.explain("lamps", [items[0], items[1]]).items[0]
    behaviour = next(own for own in explained.parts if own.name == "behaviour")
    assert sum(explained.behaviour_parts.values()) == pytest.approx(behaviour.score, abs=1e-4)
    assert served.evaluate.run("lamps", "lamps:2").model == "lamps:2"


def test_new_items_go_through_the_adapted_heads(served: Workspace) -> None:
    items = load_dataset(served, "lamps").items.drop("attributes", "image_sha256", "image")
    items = items.with_columns(category_path=pl.col("category_path").list.join(" > "))
    new = items.head(2).with_columns(item_id=pl.Series(["new-1", "new-2"]), title=pl.lit("A lamp of brass"))
    served.data.ingest("lamps", items=pl.concat([new, items]))
    added = served.index.add("lamps")
    grown, built = vectors(served, str(added.ref)), vectors(served, str(served.index.build("lamps:2").ref))
    assert list(grown) == list(built) and list(grown)[:2] == ["new-1", "new-2"]
    for item, vector in built.items():
        np.testing.assert_allclose(grown[item], vector, atol=1e-5)


def test_the_base_is_run_once_per_item(served: Workspace, config: Any) -> None:
    shards = set(served.cache_dir.rglob("*.safetensors"))
    served.spoke.train("lamps", hub="hub:2", config={**config, "seed": 1})
    assert shards and set(served.cache_dir.rglob("*.safetensors")) == shards  # whatever runs is stored
    shutil.rmtree(served.cache_dir)
    served.index.check("index:lamps/2")
    assert list(served.cache_dir.rglob("*.safetensors"))


def test_a_training_goes_on_from_it(served: Workspace) -> None:
    # Only the step length of the adapter is another, which shapes nothing.
    config = {"training": {"max_epochs": 0}, "encoder_adapter": {"learning_rate_factor": 0.5}}
    made = served.spoke.train("lamps", parent="lamps:2", config=config, hub="hub:2")
    record = served.registry.models.get(str(made.ref))
    assert record.config["encoder_adapter"]["encoders"] == ["text", "image"]
    both = [{part.name: part for part in served.registry.models.get(ref).parts} for ref in ("lamps:2", str(made.ref))]
    # Nothing is trained, so that what was taken over is what is kept.
    assert both[0]["encoder adapter"].fingerprint == both[1]["encoder adapter"].fingerprint
    assert served.index.check(str(made.index)).ok


def test_from_the_command_line(shop: Workspace) -> None:
    def call(*args: str) -> tuple[int, str]:
        workspace = ["--workspace", str(shop.settings.workspace)]
        ended = CliRunner().invoke(cli, ["spoke", "train", "lamps", *workspace, *args])
        return ended.exit_code, ended.output

    small = ["--set", "transformer.dimension=16", "--set", "training.max_epochs=2", "--set", "encoder_adapter.rank=2"]
    code, found = call(*small, "--set", "encoder_adapter.layers=1")
    assert code == 0, found
    assert shop.registry.models.get("lamps:2").config["encoder_adapter"]["layers"] == 1
    for wrong, sentence in (
        ("encoder_adapter.layers=2", "has 1 layers that can be adapted, not 2"),
        ('encoder_adapter.encoders=["text", "image"]', "The hub has no image encoder to adapt; take image out of"),
        ("training.loss=softmax", "choose sampled-softmax or drop encoder_adapter"),
    ):
        code, found = call(*small, "--set", wrong)
        assert code == 2 and sentence in " ".join(found.split())
