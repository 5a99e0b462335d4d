"""Index versions: of a spoke and of a hub alone, over newer catalogs, and what an inspection finds."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hubspoke.errors import CorruptArtifactError, IncompatibleError, NotFoundError, UsageError
from hubspoke.registry.stores.indexes import NewIndex
from hubspoke.workflows.datasets import load_dataset
from hubspoke.workflows.index_loading import index_of, load_index
from hubspoke.workflows.workspace import Workspace


def flip(file: Path) -> None:
    """Change one byte in the middle of a file."""
    data = file.read_bytes()
    middle = len(data) // 2
    file.write_bytes(data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :])


def plain(items: pl.DataFrame) -> pl.DataFrame:
    """The text of a catalog as it would come in a file, without its pictures."""
    joined = items.with_columns(category_path=pl.col("category_path").list.join(" > "))
    return joined.drop("attributes", "image_sha256", "image")


def vectors(shop: Workspace, ref: str) -> dict[str, Any]:
    index = load_index(shop, shop.registry.indexes.get(ref)).index
    return dict(zip(index.item_ids, index.vectors(), strict=True))


def test_an_index_is_built_once(shop: Workspace, tiny_spoke: Any, refused: Any) -> None:
    again = shop.index.build("lamps:1")
    assert (again.ref, again.cached, again.model) == ("index:lamps/1", True, "lamps:1")
    assert (again.items, again.n_items) == ("snapshot:lamps/items/1", 40)
    assert again.dimension == shop.spoke.show("lamps:1").summary["dimension"]
    assert shop.index.build("lamps").ref == "index:lamps/1"
    for ref in ("lamps", "lamps:1", "lamps@live", "index:lamps/1", "release:lamps/1"):
        assert index_of(shop, ref).ref == "index:lamps/1"
    forced = shop.index.build("lamps:1", force=True)
    assert (forced.ref, forced.cached) == ("index:lamps/2", False)
    first, second = shop.index.list("lamps")
    assert first.artifact == second.artifact
    assert shop.index.list() == shop.index.list("lamps")
    # The reference decides which one answers.
    assert (index_of(shop, "lamps:1").ref, index_of(shop, "lamps").ref) == ("index:lamps/2", "index:lamps/1")
    refused(UsageError, "is a hub and recommends nothing", index_of, shop, "hub:1")
    shop.spoke.train("lamps", config={**tiny_spoke, "seed": 1}, index=False)
    for ask in (index_of, Workspace.promote):
        with pytest.raises(NotFoundError, match=r"lamps:2 has no index yet; build it with `hubspoke index build lam"):
            ask(shop, "lamps:2")


def test_a_hub_fills_an_index_of_any_category(shop: Workspace, refused: Any) -> None:
    refused(UsageError, r"hub:1 is a hub and serves any category; name one with --domain", shop.index.build, "hub:1")
    planned = shop.index.build("hub:1", domain="lamps", dry_run=True)
    assert (planned.ref, planned.cached, planned.n_items, planned.dimension) == (None, False, 40, None)
    assert len(shop.index.list()) == 1
    built = shop.index.build("hub@live", domain="lamps")
    assert (built.ref, built.model) == ("index:lamps/2", "hub:1")
    assert shop.index.build("hub:1", domain="lamps").cached
    answer = shop.recommend("index:lamps/2", ["lamps-0004"], k=3)
    assert (answer.served_by, [item["cold"] for item in answer.items]) == ("hub:1", [True] * 3)
    # A sound index passes every check.
    names = ["checksums", "items", "finite", "search", "embedding space", "vectors"]
    for ref in ("index:lamps/1", "index:lamps/2"):
        found = shop.index.check(ref)
        assert [check["name"] for check in found.checks if check["ok"]] == names
        assert (found.ok, found.checks[1]["detail"]) == (True, "40 of 40, in the order of the catalog")
    refused(NotFoundError, "", shop.index.check, "index:lamps/7")


def test_items_that_the_spoke_never_saw_are_embedded_from_their_content(shop: Workspace) -> None:
    items = plain(load_dataset(shop, "lamps").items)
    twin = items[0].with_columns(item_id=pl.lit("lamps-new"))  # described like lamps-0000
    other = items[1].with_columns(item_id=pl.lit("lamps-odd"), title=pl.lit("Chandelier"), description=pl.lit("Huge"))
    shop.data.ingest("lamps", items=pl.concat([items, twin, other]))
    built = shop.index.build("lamps:1")
    assert (built.ref, built.items, built.n_items) == ("index:lamps/2", "snapshot:lamps/items/2", 42)
    loaded, found = load_index(shop, shop.registry.indexes.get("index:lamps/2")), vectors(shop, "index:lamps/2")
    assert all(np.allclose(found[item], old, atol=1e-5) for item, old in vectors(shop, "index:lamps/1").items())
    # The same words, so the same content; but no shopper has met it, so it has no ID residual and is flagged as cold.
    split, flag = loaded.spoke.behaviour_dimension, loaded.spoke.width
    np.testing.assert_allclose(found["lamps-0000"][split:], found["lamps-new"][split:], atol=1e-5)
    assert found["lamps-new"][flag] == found["lamps-odd"][flag] == 1.0
    shown = {item["item_id"]: item for item in shop.recommend("index:lamps/2", ["lamps-0000"], k=42).items}
    assert shown["lamps-new"]["cold"]
    known = set(loaded.spoke.behaviour.known_items) if loaded.spoke.behaviour else set()
    # What was bought last may be held back.
    assert {item for item, own in shown.items() if not own["cold"]} == known & set(shown) >= known - {"lamps-0000"}
    assert 20 < len(known) < 40
    assert shop.similar("index:lamps/2", "lamps-0000", k=1).items[0]["item_id"] == "lamps-new"


@pytest.mark.parametrize("name", ["items.faiss", "item_ids.json", "index.json", None])
def test_a_flipped_byte_or_a_lost_folder_is_found_and_the_remedy_works(shop: Workspace, name: str | None) -> None:
    record = shop.registry.indexes.get("index:lamps/1")
    before = shop.recommend("lamps", ["lamps-0001"])
    folder = shop.artifacts.path(record.artifact)
    if name:
        flip(folder / name)
    else:
        shutil.rmtree(folder)
    for ask in (lambda: shop.index.check(record.ref), lambda: shop.recommend("lamps", ["lamps-0001"])):
        with pytest.raises(CorruptArtifactError if name else NotFoundError, match=r"--force"):
            ask()
    assert not shop.doctor(verify=True).ok
    assert shop.index.build("lamps:1", force=True).ref == "index:lamps/2"
    # Equal content has one place in the store, so the release that was live is whole again.
    assert shop.recommend("lamps", ["lamps-0001"]) == before
    assert shop.doctor(verify=True).ok


def test_a_damaged_spoke_is_found_and_trained_again(shop: Workspace, tiny_spoke: Any, refused: Any) -> None:
    artifact = shop.artifacts.path(str(shop.spoke.show("lamps:1").artifact))
    for name in ("behaviour.safetensors", "known_items.json", "adapter/adapter_model.safetensors"):
        sound = (artifact / name).read_bytes()
        flip(artifact / name)
        refused(CorruptArtifactError, "--force", shop.recommend, "lamps", ["lamps-0001"])
        (artifact / name).write_bytes(sound)
    flip(artifact / name)
    assert shop.spoke.train("lamps", config=tiny_spoke, force=True).ref == "lamps:2"
    assert shop.recommend("lamps", ["lamps-0001"]).served_by == "lamps:1"


def test_an_index_of_another_space_answers_nothing_and_cannot_go_live(shop: Workspace, refused: Any) -> None:
    record = shop.registry.indexes.get("index:lamps/1")
    with shop.stage() as staged:
        for file in shop.artifacts.open(record.artifact).iterdir():
            text = file.read_bytes().replace(record.space_fingerprint.encode(), b"f" * 64)
            (staged / file.name).write_bytes(text)
        (staged / "artifact.json").unlink()
        artifact = shop.commit(staged, "index")
    same = (record.factory, record.dimension, record.metric, record.n_items)
    tampered = NewIndex("lamps", record.model, record.items, "tampered", "f" * 64, *same, artifact)
    ref = shop.registry.indexes.add(tampered).ref
    for ask in (shop.index.check, shop.promote, lambda ref: shop.recommend(ref, ["lamps-0001"])):
        refused(IncompatibleError, "hubspoke index build", ask, ref)
    assert shop.registry.domains.get("lamps").live == "release:lamps/1"


def newer(shop: Workspace) -> None:
    """A catalog with one item gone, one reworded, one with another price, and two new ones at its start."""
    items = load_dataset(shop, "lamps").items
    items = items.filter(pl.col("item_id") != "lamps-0005")
    items = items.with_columns(
        title=pl.when(pl.col("item_id") == "lamps-0007").then(pl.lit("Green reading lamp")).otherwise("title"),
        price=pl.when(pl.col("item_id") == "lamps-0009").then(1.0).otherwise("price"),
    )
    new = items.head(2).with_columns(item_id=pl.Series(["new-1", "new-2"]), title=pl.Series(["Oak lamp", "Elm lamp"]))
    shop.data.ingest("lamps", items=plain(pl.concat([new, items])))


@pytest.mark.parametrize("ref", ["lamps", "index:lamps/2"])
def test_it_equals_an_index_built_anew_in_the_same_space(shop: Workspace, ref: str) -> None:
    shop.index.build("hub:1", domain="lamps")
    base = "index:lamps/1" if ref == "lamps" else ref
    before, nothing = vectors(shop, base), shop.index.add(ref)
    assert (nothing.ref, nothing.cached, nothing.added) == (base, True, 0)
    newer(shop)
    planned = shop.index.add(ref, dry_run=True)
    made, again = shop.index.add(ref), shop.index.add(ref)
    assert (again.ref, again.cached) == (made.ref, True)
    assert (planned.ref, planned.added, planned.kept, planned.removed) == (None, made.added, made.kept, 1)
    record = shop.registry.indexes.get(str(made.ref))
    assert (record.items, record.n_items) == ("snapshot:lamps/items/2", 41)
    found = vectors(shop, record.ref)
    assert list(found) == load_dataset(shop, "lamps").items["item_id"].to_list()
    assert {"new-1", "new-2"} <= set(found) and "lamps-0005" not in found
    above = shop.registry.lineage.upstream(record.ref).edges
    edges = {(edge.parent, str(edge.relation)) for edge in above if edge.child == record.ref}
    assert (made.base, "built_from") in edges and (record.items, "embeds") in edges
    assert shop.index.check(record.ref).ok
    shop.promote(record.ref, reason="new items")
    assert shop.recommend("lamps", ["new-1"]).served_by == record.model
    if ref == "lamps":
        anew = vectors(shop, str(shop.index.build("lamps:1").ref))
        np.testing.assert_allclose([found[item] for item in anew], list(anew.values()), atol=1e-5)
    else:
        # The hub's floor keeps the calibration of the index, where a new build would fit another.
        same = set(before) & set(found) - {"lamps-0007"}
        assert record.space_fingerprint == shop.registry.indexes.get(ref).space_fingerprint
        assert all(np.allclose(before[item], found[item], atol=1e-5) for item in same)


def test_unchanged_items_keep_their_vectors_and_a_new_price_changes_none(shop: Workspace) -> None:
    items = plain(load_dataset(shop, "lamps").items)
    shop.data.ingest("lamps", items=items)
    shop.promote(str(shop.index.build("lamps:1").ref))
    priced = items.with_columns(price=pl.lit(3.0))
    shop.data.ingest("lamps", items=pl.concat([priced, priced.head(1).with_columns(item_id=pl.lit("new-1"))]))
    made = shop.index.add("lamps")
    assert (made.added, made.kept, made.removed, made.cached) == (1, 40, 0, False)
    before, found = vectors(shop, made.base), vectors(shop, str(made.ref))
    for item, vector in before.items():
        np.testing.assert_array_equal(found[item], vector)


def test_a_model_of_another_space_is_refused(shop: Workspace, tiny_spoke: Any, refused: Any) -> None:
    newer(shop)
    other = shop.spoke.train("lamps", config={**tiny_spoke, "seed": 5}, index=False).ref
    for model in (str(other), "hub:1"):
        refused(IncompatibleError, "filled by embedding space", shop.index.add, "lamps", model=model)
    assert [index.ref for index in shop.registry.indexes.list("lamps")] == ["index:lamps/1"]
    assert shop.index.add("lamps", model="lamps:1").ref == "index:lamps/2"


def test_removed_items_are_gone_until_their_catalog_is_added_again(shop: Workspace) -> None:
    first, second = (item["item_id"] for item in shop.recommend("lamps", ["lamps-0001"], k=2).items)
    assert shop.index.remove("lamps", [first], dry_run=True).ref is None
    made = shop.index.remove("lamps", [first])
    assert (made.ref, made.base, made.removed, made.kept) == ("index:lamps/2", "index:lamps/1", 1, 39)
    assert shop.index.remove("lamps", [first]).cached
    shop.promote("index:lamps/2")
    shown = shop.recommend("lamps", ["lamps-0001"], k=40)
    assert shown.items[0]["item_id"] == second and first not in {item["item_id"] for item in shown.items}
    assert shop.index.check("index:lamps/2").ok
    popular = shop.recommend("lamps", k=50).items
    assert len(popular) == 39 and first not in {item["item_id"] for item in popular}
    again = shop.index.add("index:lamps/2")
    assert (again.added, again.kept) == (1, 39)
    shop.promote(str(again.ref))
    assert shop.recommend("lamps", ["lamps-0001"], k=1).items[0]["item_id"] == first
    with pytest.raises(NotFoundError, match=r"1 of the items are not in index:lamps/1 .first: 'oak'"):
        shop.index.remove("index:lamps/1", ["oak"])
    with pytest.raises(UsageError, match="Nothing would be left"):
        shop.index.remove("index:lamps/1", [f"lamps-{n:04}" for n in range(40)])
