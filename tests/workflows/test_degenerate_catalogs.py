"""Catalogs with next to nothing in them: refused when they are launched, or answered without a fault."""

import math
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from hubspoke.errors import InvalidDataError
from hubspoke.workflows.workspace import Workspace

N = 12
IDS = [f"i{number:02}" for number in range(N)]
TITLES = [f"{('red', 'green', 'blue')[number % 3]} thing number {number}" for number in range(N)]
LONG = [f"{'x' * 5000}{number}" for number in range(N)]


def items(n: int = N, **columns: list[Any]) -> pl.DataFrame:
    given = {"item_id": IDS[:n], "title": TITLES[:n], "price": [1.0 + number for number in range(n)]}
    return pl.DataFrame(given | columns)


CATALOGS: dict[str, pl.DataFrame] = {
    "one item": items(1),
    "two items": items(2),
    "all equal": items(title=["Same thing"] * N, price=[2.0] * N),
    "one text": items(title=["Same thing"] * N),
    "no price": items(price=[None] * N),
    "equal prices": items(price=[5.0] * N),
    "prices of nothing": items(price=[0.0] * N),
    "one letter": items(title=["a"] * 6 + ["b"] * 6),
    "emoji": items(title=["🌷"] * 6 + ["🌵🔥"] * 6),
    "one title": items(title=["Red rose"] + [""] * (N - 1)),
    "long ids": items(item_id=LONG),
    "nothing available": items(available=[False] * N),
}


def numbers(found: Any) -> Iterator[float]:
    """Every number in a result."""
    found = found.to_dict() if hasattr(found, "to_dict") else found
    if isinstance(found, float):
        yield found
    elif isinstance(found, dict | list | tuple):
        for inner in found.values() if isinstance(found, dict) else found:
            yield from numbers(inner)


@pytest.fixture
def with_hub(ws: Workspace, tiny_hub: Any) -> Workspace:
    ws.hub.train(domains=[], config=tiny_hub)
    return ws


@pytest.mark.slow
@pytest.mark.parametrize("name", CATALOGS)
def test_what_can_be_launched_answers_every_question(with_hub: Workspace, name: str) -> None:
    ws, catalog = with_hub, CATALOGS[name]
    first = catalog["item_id"][0]
    told = [ws.launch("odd", catalog, k=3), ws.recommend("odd", [first], k=3), ws.recommend("odd", k=3)]
    told += [ws.similar("odd", first, k=3), ws.search("odd", "red thing", k=3), ws.explain("odd", [first], k=3)]
    told.append(ws.launch_report("odd"))
    assert all(math.isfinite(number) for result in told for number in numbers(result))
    assert ws.index.check("index:odd/1").ok and ws.doctor(verify=True).ok
    shown = [item["item_id"] for item in ws.recommend("odd", [first], k=N).items]
    assert len(shown) == len(set(shown)) == (0 if name == "nothing available" else len(catalog))


def test_a_catalog_without_content_is_refused_when_it_is_launched(with_hub: Workspace, refused: Any) -> None:
    bare = items().drop("title")
    refused(InvalidDataError, "nothing tells the items apart", with_hub.launch, "odd", bare)
    # Said to be meant: it can be kept, and a spoke can learn its behaviour, but there is no list from content.
    words = r"No item of odd has a title.*hubspoke data ingest odd --items FILE --map title=COLUMN"
    refused(InvalidDataError, words, with_hub.launch, "odd", bare, item_map={"title": ""})
    assert with_hub.domain.show("odd").domain.live is None
