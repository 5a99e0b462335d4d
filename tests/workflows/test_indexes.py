"""Index versions: of a spoke and of a hub alone, over newer catalogs, and what an inspection finds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hubspoke.errors import CorruptArtifactError, IncompatibleError, NotFoundError, UsageError
from hubspoke.workflows.indexes import index_of, load_index
from hubspoke.workflows.workspace import Workspace


def flip(folder: Path, name: str) -> None:
    """Change one byte in the middle of a file."""
    file = folder / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(bytes(data))


def newer_catalog(market: Any) -> pl.DataFrame:
    """The catalog of lamps with two products more: one described like lamps-0000, one like nothing else."""
    items = pl.read_csv(market["lamps"].items).drop("image")
    twin = items[0].with_columns(item_id=pl.lit("lamps-new"))
    other = items[1].with_columns(item_id=pl.lit("lamps-odd"), title=pl.lit("Chandelier"), description=pl.lit("Huge"))
    return pl.concat([items, twin, other])


def test_an_index_is_built_once(shop: Workspace) -> None:
    again = shop.index.build("lamps:1")
    assert (again.ref, again.cached, again.model, again.items) == (
        "index:lamps/1",
        True,
        "lamps:1",
        "snapshot:lamps/items/1",
    )
    assert (again.n_items, again.dimension) == (40, shop.spoke.show("lamps:1").summary["dimension"])
    assert shop.index.build("lamps").ref == "index:lamps/1"
    forced = shop.index.build("lamps:1", force=True)
    assert (forced.ref, forced.cached) == ("index:lamps/2", False)
    first, second = shop.index.list("lamps")
    assert first.artifact == second.artifact
    assert shop.index.list() == shop.index.list("lamps")


def test_a_hub_fills_an_index_of_any_category(shop: Workspace) -> None:
    with pytest.raises(UsageError, match=r"hub:1 is a hub and serves any category; name one with --domain"):
        shop.index.build("hub:1")
    planned = shop.index.build("hub:1", domain="lamps", dry_run=True)
    assert (planned.ref, planned.cached, planned.n_items, planned.dimension) == (None, False, 40, None)
    assert len(shop.index.list()) == 1
    built = shop.index.build("hub@live", domain="lamps")
    assert (built.ref, built.model) == ("index:lamps/2", "hub:1")
    assert shop.index.build("hub:1", domain="lamps").cached
    answer = shop.recommend("index:lamps/2", ["lamps-0004"], k=3)
    assert answer.served_by == "hub:1"
    assert all(item["cold"] for item in answer.items)
    assert shop.index.check("index:lamps/2").ok


def test_items_that_the_spoke_never_saw_are_embedded_from_their_content(shop: Workspace, market: Any) -> None:
    shop.data.ingest("lamps", items=newer_catalog(market))
    built = shop.index.build("lamps:1")
    assert (built.ref, built.cached, built.items) == ("index:lamps/2", False, "snapshot:lamps/items/2")
    assert built.n_items == 42
    loaded = load_index(shop, shop.registry.indexes.get("index:lamps/2"))
    ids, vectors = list(loaded.index.item_ids), loaded.index.vectors()
    old = load_index(shop, shop.registry.indexes.get("index:lamps/1"))
    rows = [ids.index(item) for item in old.index.item_ids]
    assert np.allclose(vectors[rows], old.index.vectors(), atol=1e-5)
    # The same words, so the same content; but no shopper has met it, so it has no ID residual and is flagged as cold.
    split = loaded.spoke.behaviour_dimension
    first, twin, odd = (ids.index(item) for item in ("lamps-0000", "lamps-new", "lamps-odd"))
    assert np.allclose(vectors[first, split:], vectors[twin, split:], atol=1e-5)
    assert vectors[[twin, odd], loaded.spoke.width].tolist() == [1.0, 1.0]
    shown = {item["item_id"]: item for item in shop.recommend("index:lamps/2", ["lamps-0000"], k=42).items}
    assert shown["lamps-new"]["cold"]
    known = set(loaded.spoke.behaviour.known_items) if loaded.spoke.behaviour else set()
    # What was bought last may be held back.
    assert {item for item, own in shown.items() if not own["cold"]} == known & set(shown) >= known - {"lamps-0000"}
    assert 20 < len(known) < 40
    assert shop.similar("index:lamps/2", "lamps-0000", k=1).items[0]["item_id"] == "lamps-new"
    assert shop.index.check("index:lamps/2").ok


def test_a_sound_index_passes_every_check(shop: Workspace) -> None:
    found = shop.index.check("index:lamps/1")
    assert found.ok
    assert [check["name"] for check in found.checks] == ["checksums", "items", "finite", "embedding space", "vectors"]
    assert found.checks[1]["detail"] == "40 of 40"
    with pytest.raises(NotFoundError):
        shop.index.check("index:lamps/7")


@pytest.mark.parametrize("name", ["items.faiss", "item_ids.json", "index.json"])
def test_a_flipped_byte_is_found_and_the_remedy_works(shop: Workspace, name: str) -> None:
    record = shop.registry.indexes.get("index:lamps/1")
    before = shop.recommend("lamps", ["lamps-0001"])
    flip(shop.artifacts.path(record.artifact), name)
    for ask in (lambda: shop.index.check(record.ref), lambda: shop.recommend("lamps", ["lamps-0001"])):
        with pytest.raises(CorruptArtifactError, match=r"--force") as caught:
            ask()
        assert caught.value.exit_code == 4
    assert not shop.doctor(verify=True).ok
    assert shop.index.build("lamps:1", force=True).ref == "index:lamps/2"
    # Equal content has one place in the store, so the release that was live is whole again.
    assert shop.recommend("lamps", ["lamps-0001"]) == before
    assert shop.doctor(verify=True).ok


@pytest.mark.parametrize("name", ["behaviour.safetensors", "known_items.json", "adapter/adapter_model.safetensors"])
def test_a_damaged_spoke_is_found_and_trained_again(shop: Workspace, tiny_spoke: Any, name: str) -> None:
    artifact = shop.artifacts.path(str(shop.spoke.show("lamps:1").artifact))
    flip(artifact, name)
    with pytest.raises(CorruptArtifactError, match="--force"):
        shop.recommend("lamps", ["lamps-0001"])
    assert shop.spoke.train("lamps", config=tiny_spoke, force=True).ref == "lamps:2"
    assert shop.recommend("lamps", ["lamps-0001"]).served_by == "lamps:1"


def test_an_artifact_that_is_gone_is_not_found(shop: Workspace) -> None:
    shutil.rmtree(shop.artifacts.path(shop.registry.indexes.get("index:lamps/1").artifact))
    with pytest.raises(NotFoundError, match="--force"):
        shop.recommend("lamps", ["lamps-0001"])
    shop.index.build("lamps:1", force=True)
    assert shop.recommend("lamps", ["lamps-0001"]).index == "index:lamps/1"


def with_another_space(ws: Workspace) -> str:
    """An index whose files say that another embedding space filled them."""
    record = ws.registry.indexes.get("index:lamps/1")
    with ws.artifacts.stage() as staged:
        for file in ws.artifacts.open(record.artifact).iterdir():
            if file.name != "artifact.json":
                text = file.read_bytes().replace(record.space_fingerprint.encode(), b"f" * 64)
                (staged / file.name).write_bytes(text)
        artifact = ws.artifacts.commit(staged, "index")
    return ws.registry.indexes.add(
        "lamps",
        record.model,
        record.items,
        fingerprint="tampered",
        space_fingerprint="f" * 64,
        factory=record.factory,
        dimension=record.dimension,
        metric=record.metric,
        n_items=record.n_items,
        artifact=artifact,
    ).ref


def test_an_index_of_another_space_answers_nothing_and_cannot_go_live(shop: Workspace) -> None:
    ref = with_another_space(shop)
    for ask in (
        lambda: shop.recommend(ref, ["lamps-0001"]),
        lambda: shop.index.check(ref),
        lambda: shop.promote(ref),
    ):
        with pytest.raises(IncompatibleError, match="hubspoke index build") as caught:
            ask()
        assert caught.value.exit_code == 6
    assert shop.registry.domains.get("lamps").live == "release:lamps/1"


def test_the_reference_decides_which_index_answers(shop: Workspace, tiny_spoke: Any) -> None:
    for ref in ("lamps", "lamps:1", "lamps@live", "index:lamps/1", "release:lamps/1"):
        assert index_of(shop, ref).ref == "index:lamps/1"
    shop.index.build("lamps:1", force=True)
    assert index_of(shop, "lamps:1").ref == "index:lamps/2"
    assert index_of(shop, "lamps").ref == "index:lamps/1"
    with pytest.raises(UsageError, match="does not recommend"):
        index_of(shop, "hub:1")
    shop.spoke.train("lamps", config={**tiny_spoke, "seed": 1}, index=False)
    with pytest.raises(NotFoundError, match=r"lamps:2 has no index yet; build it with `hubspoke index build lamps:2`"):
        index_of(shop, "lamps:2")
    with pytest.raises(NotFoundError, match="lamps:2 has no index yet"):
        shop.promote("lamps:2")
