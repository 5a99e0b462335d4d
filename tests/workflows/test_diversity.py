"""Lists that do not repeat themselves: groups of one product, and maximal marginal relevance by hand."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hubspoke.catalog.schema import ITEM_SCHEMA
from hubspoke.errors import UsageError
from hubspoke.workflows.diversity import SPREAD, connected, duplicate_groups, first_of_each, passed_over, spread_out
from hubspoke.workflows.workspace import Workspace


def catalog(*rows: dict[str, Any]) -> pl.DataFrame:
    """Items of the canonical schema, whatever is not named missing."""
    empty = dict.fromkeys(ITEM_SCHEMA) | {"title": "", "attributes": [], "available": True}
    return pl.DataFrame([{**empty, "item_id": str(n), **row} for n, row in enumerate(rows)], schema=ITEM_SCHEMA)


def of_group(name: str) -> list[dict[str, str]]:
    return [{"key": "colour", "value": "red"}, {"key": "item_group_id", "value": name}]


@pytest.mark.parametrize(
    ("rows", "groups"),
    [
        pytest.param(
            [{"title": "Red mug"}, {"title": "red  MUG!"}, {"title": "Red mug 2"}], [0, 0, 2], id="text, not its case"
        ),
        pytest.param(
            [{"title": "Mug", "description": "red"}, {"title": "Mug", "description": "blue"}], [0, 1], id="description"
        ),
        pytest.param([{}, {}, {"title": "--"}], [0, 1, 2], id="no text tells nothing"),
        pytest.param(
            [{"title": "a", "attributes": of_group("g")}, {"title": "b"}, {"title": "c", "attributes": of_group("g")}],
            [0, 1, 0],
            id="group id",
        ),
        pytest.param(
            [{"title": "a", "image_sha256": ["x", "y"]}, {"title": "b", "image_sha256": ["x"]}], [0, 0], id="picture"
        ),
        pytest.param([{"title": str(n), "image_sha256": ["x"]} for n in range(11)], list(range(11)), id="placeholder"),
        pytest.param(
            [{"title": "c", "image_sha256": ["z"]}, {"title": "b"}, {"title": "B", "image_sha256": ["z"]}],
            [0, 0, 0],
            id="chain",
        ),
    ],
)
def test_what_is_one_product(rows: list[dict[str, Any]], groups: list[int]) -> None:
    assert duplicate_groups(catalog(*rows)).tolist() == groups


def test_the_best_of_each_product_comes_first_and_none_is_lost() -> None:
    ranked = [(3, 0.9), (1, 0.8), (2, 0.7), (0, 0.6)]
    groups = np.array([0, 1, 1, 3])
    assert list(first_of_each(ranked, groups)) == [(3, 0.9), (1, 0.8), (0, 0.6), (2, 0.7)]
    assert list(first_of_each(ranked, groups, shown=[3])) == [(1, 0.8), (0, 0.6), (3, 0.9), (2, 0.7)]


def test_what_is_shown_once_stays_behind_in_another_order_too() -> None:
    ranked = [(3, 0.9), (1, 0.8), (2, 0.7), (0, 0.6)]
    groups = np.array([0, 1, 1, 3])
    turned = first_of_each(ranked, groups, arrange=lambda firsts: reversed(list(firsts)))
    assert list(turned) == [(0, 0.6), (1, 0.8), (3, 0.9), (2, 0.7)]


def test_a_chain_is_one_component_whatever_its_length_and_order() -> None:
    n = 10_000
    places = np.random.default_rng(0).permutation(n - 1)
    chain = np.stack([places, places + 1], axis=1)
    assert not connected(n, chain).any()
    apart = connected(n, chain[places != 5000])  # without the pair (5000, 5001)
    assert apart.tolist() == [0] * 5001 + [5001] * (n - 5001)
    assert connected(3, np.zeros((0, 2), np.int64)).tolist() == [0, 1, 2]


def test_marginal_relevance_by_hand() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    ranked = [(0, 1.0), (1, 0.9), (2, 0.0)]
    assert [row for row, _ in spread_out(ranked, vectors, 0.0)] == [0, 1, 2]
    # After row 0: row 1 is worth 0.5 x 0.9 - 0.5 x 1 = -0.05, row 2 nothing lost and nothing won.
    assert [row for row, _ in spread_out(ranked, vectors, 0.5)] == [0, 2, 1]
    assert [row for row, _ in spread_out(ranked, vectors, 0.4)] == [0, 1, 2]  # 0.54 - 0.4 against 0


def test_what_is_near_to_a_row_before_it_comes_later_and_none_is_lost() -> None:
    # Cosines: rows 0 and 1 have 0.8, rows 0 and 2 none, rows 1 and 2 have 0.6; row 3 is like no other, itself included.
    vectors = np.array([[1, 0], [8, 6], [0, 1], [0, 0], [0, 0]], dtype=np.float32)
    ranked = [(0, 0.9), (1, 0.8), (2, 0.7), (3, 0.6), (4, 0.5)]

    def order(near: float, shown: tuple[int, ...] = ()) -> list[int]:
        return [row for row, _ in passed_over(ranked, vectors, near, shown)]

    assert order(0.81) == [0, 1, 2, 3, 4]
    assert order(0.79) == [0, 2, 3, 4, 1]
    assert order(0.59, shown=(1,)) == [3, 4, 0, 1, 2]
    same = np.ones((SPREAD + 2, 1), dtype=np.float32)
    many = [(row, 1.0 - row / 1000) for row in range(SPREAD + 2)]
    assert list(passed_over(many, same, 0.9)) == many  # no further than the best SPREAD is looked for others


def test_a_list_shows_a_product_once_and_a_longer_one_begins_with_it(ws: Workspace, tiny_hub: Any) -> None:
    titles = ["oak table", "Oak table", "pine table", "OAK TABLE", "ash chair"]
    ws.hub.train(domains=[], config=tiny_hub)
    ws.launch("tables", pl.DataFrame({"item_id": list("abcde"), "title": titles}))

    def shown(k: int, **how: Any) -> list[str]:
        return [item["item_id"] for item in ws.recommend("tables", ["e"], k=k, **how).items]

    assert len({titles["abcde".index(item)].lower() for item in shown(3)}) == 3
    assert sorted(shown(5)) == list("abcde") and shown(5)[:3] == shown(3)
    assert shown(5, diversity=0.7)[:3] == shown(3, diversity=0.7)
    assert sorted(shown(5, near=0.5, diversity=0.1)) == list("abcde")
    assert shown(3, near=1e-6)[0] == shown(3)[0]
    with pytest.raises(UsageError, match=r"cosine of 1\.5"):
        shown(3, near=1.5)
    assert {titles["abcde".index(item)].lower() for item in shown(3, diversity=0.1)} == {t.lower() for t in titles}
