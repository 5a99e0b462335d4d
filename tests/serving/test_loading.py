"""What is done with a release before anybody is served by it."""

from typing import Any

from hubspoke.serving.loading import load_resident
from hubspoke.serving.releases import Place, read_heads
from hubspoke.workflows.recommendations import Recommender
from hubspoke.workflows.workspace import Workspace


def test_a_release_is_asked_what_shoppers_ask_before_it_serves(shop: Workspace, monkeypatch: Any) -> None:
    asked = []
    find = Recommender._find

    def listen(self: Recommender, question: Any, *rest: Any) -> Any:
        asked.append((bool(question.session), question.user))
        return find(self, question, *rest)

    monkeypatch.setattr(Recommender, "_find", listen)
    place = Place("lamps")
    resident = load_resident(shop, place, read_heads(shop.registry).version(place))
    assert {(True, None), (False, None)} <= set(asked)
    rows = range(len(resident.recommender.item_ids))
    described = resident.recommender.catalog.describe(rows)
    monkeypatch.setattr(resident.items, "_describe", None)  # every item was encoded already
    for own, piece in zip(described, resident.items.of(rows), strict=True):
        assert b'"item_id":"%b"' % own["item_id"].encode() in piece
    assert resident.bytes > resident.recommender.vectors.nbytes and resident.seconds > 0


def test_heads_are_the_aliases_and_the_newest_data_of_the_categories_that_are_served(shop: Workspace) -> None:
    heads = read_heads(shop.registry)
    assert {str(place) for place in heads.versions} == {"lamps@live", "lamps@candidate", "mugs@live"}
    assert heads.version(Place("lamps")).to_dict() == {
        "release": "release:lamps/1",
        "items": "snapshot:lamps/items/1",
        "events": "snapshot:lamps/events/1",
    }
    assert read_heads(shop.registry, ("mugs",)).domains == {"mugs"}
    shop.domain.archive("mugs")
    assert read_heads(shop.registry).domains == {"lamps"}
