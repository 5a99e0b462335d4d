"""An index brought up to a newer catalog: only what changed is embedded, and never from another space."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hubspoke.errors import IncompatibleError
from hubspoke.workflows.datasets import load_dataset
from hubspoke.workflows.indexes import load_index
from hubspoke.workflows.workspace import Workspace


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


def plain(items: pl.DataFrame) -> pl.DataFrame:
    """The text of a catalog as it would come in a file, without its pictures."""
    joined = items.with_columns(category_path=pl.col("category_path").list.join(" > "))
    return joined.drop("attributes", "image_sha256", "image")


def vectors(shop: Workspace, ref: str) -> dict[str, Any]:
    index = load_index(shop, shop.registry.indexes.get(ref)).index
    return dict(zip(index.item_ids, index.vectors(), strict=True))


@pytest.mark.parametrize("ref", ["lamps", "index:lamps/2"])
def test_it_equals_an_index_built_anew_in_the_same_space(shop: Workspace, ref: str) -> None:
    shop.index.build("hub:1", domain="lamps")
    before = vectors(shop, "index:lamps/1" if ref == "lamps" else ref)
    newer(shop)
    planned = shop.index.add(ref, dry_run=True)
    made = shop.index.add(ref)
    assert (planned.ref, planned.added, planned.kept, planned.removed) == (None, made.added, made.kept, 1)
    record = shop.registry.indexes.get(str(made.ref))
    assert (record.items, record.n_items) == ("snapshot:lamps/items/2", 41)
    found = vectors(shop, record.ref)
    assert list(found) == load_dataset(shop, "lamps").items["item_id"].to_list()
    assert {"new-1", "new-2"} <= set(found) and "lamps-0005" not in found
    edges = {
        (e.parent, str(e.relation)) for e in shop.registry.lineage.upstream(record.ref).edges if e.child == record.ref
    }
    assert (made.base, "built_from") in edges and (record.items, "embeds") in edges
    if ref == "lamps":
        again = vectors(shop, str(shop.index.build("lamps:1").ref))
        np.testing.assert_allclose([found[item] for item in again], list(again.values()), atol=1e-5)
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


def test_the_same_again_and_nothing_to_do_are_told(shop: Workspace) -> None:
    nothing = shop.index.add("lamps")
    assert (nothing.ref, nothing.cached, nothing.added) == ("index:lamps/1", True, 0)
    newer(shop)
    made, again = shop.index.add("lamps"), shop.index.add("lamps")
    assert (again.ref, again.cached) == (made.ref, True)
    shop.promote(str(made.ref), reason="new items")
    assert shop.recommend("lamps", ["new-1"]).served_by == "lamps:1"
    assert shop.index.check(str(made.ref)).ok


def test_a_model_of_another_space_is_refused_with_the_code_of_the_contract(shop: Workspace, tiny_spoke: Any) -> None:
    newer(shop)
    other = shop.spoke.train("lamps", config={**tiny_spoke, "seed": 5}, index=False).ref
    for model in (str(other), "hub:1"):
        with pytest.raises(IncompatibleError, match="filled by embedding space") as caught:
            shop.index.add("lamps", model=model)
        assert caught.value.exit_code == 6
    assert [index.ref for index in shop.registry.indexes.list("lamps")] == ["index:lamps/1"]
    assert shop.index.add("lamps", model="lamps:1").ref == "index:lamps/2"
