import pytest
from hubspoke.errors import UsageError


def test_an_index_knows_its_ready_model_its_items_and_its_space(garden) -> None:
    index = garden.index(garden.spoke().ref)
    assert (index.ref, index.model, index.items) == ("index:garden/1", "garden:1", "snapshot:garden/items/1")
    assert (index.factory, index.dimension, index.metric, index.seconds) == ("Flat", 8, "inner_product", 1.5)
    assert garden.registry.indexes.find("garden", "index0") == index == garden.registry.indexes.get("index:garden/1")
    assert garden.registry.indexes.find("garden", "other") is None
    assert garden.registry.indexes.list("garden") == [index]
    edges = {(e.parent, e.relation) for e in garden.registry.lineage.upstream(index.ref).edges if e.child == index.ref}
    assert edges == {("garden:1", "built_from"), ("snapshot:garden/items/1", "embeds")}
    garden.registry.models.begin("spoke", "garden", "f", {})
    with pytest.raises(UsageError, match="garden:2 is training; use a version that is ready"):
        garden.index("garden:2")
    assert garden.registry.indexes.list() == [index]
