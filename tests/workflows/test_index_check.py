"""Indexes whose bytes are as recorded and that are wrong all the same: told, and never served."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from hubspoke.errors import CorruptArtifactError
from hubspoke.registry.stores.indexes import NewIndex
from hubspoke.workflows.workspace import Workspace

Forgery = Callable[[Path], None]


def ids(change: Callable[[list[str]], list[Any]]) -> Forgery:
    """Other item ids."""

    def forge(folder: Path) -> None:
        file = folder / "item_ids.json"
        file.write_text(json.dumps(change(json.loads(file.read_text()))))

    return forge


def vectors(make: Callable[[np.ndarray], Any]) -> Forgery:
    """Another FAISS index, made of the (N, D) vectors."""

    def forge(folder: Path) -> None:
        file = str(folder / "items.faiss")
        read = faiss.read_index(file)
        faiss.write_index(make(read.reconstruct_n(0, read.ntotal)), file)

    return forge


def filled(index: Any, own: np.ndarray) -> Any:
    index.add(own)
    return index


def with_nan(own: np.ndarray) -> Any:
    own[3, 2] = np.nan
    return filled(faiss.IndexFlatIP(own.shape[1]), own)


def swapped(own: np.ndarray) -> Any:
    own[[3, 4]] = own[[4, 3]]
    return filled(faiss.IndexFlatIP(own.shape[1]), own)


def forged(shop: Workspace, forge: Forgery, **about: Any) -> str:
    """The reference of an index with these files, which its record vouches for."""
    record = shop.registry.indexes.get("index:lamps/1")
    with shop.stage() as staged:
        for file in shop.artifacts.open(record.artifact).iterdir():
            if file.name != "artifact.json":
                (staged / file.name).write_bytes(file.read_bytes())
        forge(staged)
        artifact = shop.commit(staged, "index")
    said = {name: getattr(record, name) for name in ("factory", "dimension", "metric", "n_items")} | about
    new = NewIndex("lamps", record.model, record.items, "forged", record.space_fingerprint, **said, artifact=artifact)
    return shop.registry.indexes.add(new).ref


FORGERIES: dict[str, tuple[Forgery, str]] = {
    "reversed": (ids(lambda own: own[::-1]), "the items of its catalog in their order"),
    "two exchanged": (ids(lambda own: [own[1], own[0], *own[2:]]), "the items of its catalog in their order"),
    "one twice": (ids(lambda own: [own[1], *own[1:]]), "names an item twice"),
    "of no catalog": (ids(lambda own: ["oak", *own[1:]]), "the items of its catalog in their order"),
    "numbers": (ids(lambda own: list(range(len(own)))), "something else than items"),
    "too few ids": (ids(lambda own: own[1:]), "40 vectors for 39 items"),
    "distances": (vectors(lambda own: filled(faiss.IndexFlatL2(own.shape[1]), own)), "cannot be read"),
    "graph": (vectors(lambda own: filled(faiss.IndexHNSWFlat(own.shape[1], 8), own)), "cannot be read"),
    "narrower": (vectors(lambda own: filled(faiss.IndexFlatIP(4), own[:, :4].copy())), "vectors of 4 columns"),
    "no number": (vectors(with_nan), "are no numbers"),
    "empty": (vectors(lambda own: faiss.IndexFlatIP(own.shape[1])), "0 vectors for 40 items"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_what_was_forged_is_told_and_never_served(shop: Workspace, name: str) -> None:
    forge, words = FORGERIES[name]
    ref = forged(shop, forge)
    for ask in (shop.index.check, lambda ref: shop.recommend(ref, ["lamps-0001"]), lambda ref: shop.index.add(ref)):
        with pytest.raises(CorruptArtifactError, match=f"{words}.*--force"):
            ask(ref)
    told = {check.name: check for check in shop.doctor(verify=True).checks}
    assert (told["artifacts"].status, told["indexes"].status, told[ref].exit_code) == ("ok", "failed", 4)
    assert shop.index.check("index:lamps/1").ok


def test_a_record_that_says_otherwise_is_told(shop: Workspace) -> None:
    ref = forged(shop, lambda folder: None, factory="hnsw")
    with pytest.raises(
        CorruptArtifactError, match=r"what the registry says; build it with `hubspoke index build lamps:1"
    ):
        shop.index.check(ref)


def test_vectors_of_other_items_are_found_by_embedding_them_again(shop: Workspace) -> None:
    found = shop.index.check(forged(shop, vectors(swapped)))
    assert not found.ok
    assert [check["name"] for check in found.checks if not check["ok"]] == ["vectors"]
