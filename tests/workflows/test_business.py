"""What a version would have earned: read from a table, refused, recorded, and asked for by a gate."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hubspoke.catalog.sessions import SessionSettings
from hubspoke.errors import InvalidDataError, UsageError
from hubspoke.evaluation.protocols import Protocol
from hubspoke.workflows.assessment.impressions import measure_log
from hubspoke.workflows.assessment.simulation import split_purchases
from hubspoke.workflows.workspace import Workspace

WHOLE = SessionSettings(mode="per_user")


def table(folder: Path, **columns: object) -> str:
    """A log of 200 shoppers with an impression each; weights are 1.5 and 0.5 in turn."""
    turns = range(200)
    rows: dict[str, object] = {
        "user_id": [f"u{n}" for n in turns],
        "revenue": [[4.0, 2.0][n % 2] for n in turns],
        "logged": [0.4] * 200,
        "target": [[0.6, 0.2][n % 2] for n in turns],
    }
    file = folder / "log.csv"
    pl.DataFrame(rows | columns).write_csv(file)
    return str(file)


def test_a_table_by_hand(tmp_path: Path) -> None:
    ranks = [[1000, 1001][n % 2] for n in range(200)]
    found = measure_log(table(tmp_path, cost=[1.0] * 200, seller_rank=ranks))
    assert {own.name: own.value for own in found.metrics} == {
        "revenue_per_impression": pytest.approx(3.5),  # (1.5 x 4 + 0.5 x 2) / 2
        "margin_per_impression": pytest.approx(2.5),
        "tail_revenue_share": pytest.approx(1 / 7),
    }
    assert found.weighted.effective_sample_size == pytest.approx(200 / 1.25)
    assert [own.name for own in measure_log(table(tmp_path)).metrics] == ["revenue_per_impression"]
    clipped = measure_log(table(tmp_path), clip=1.0)
    assert clipped.metrics[0].value == pytest.approx(5 / 1.5) and clipped.weighted.clipped == 0.5


def test_who_bought_nothing_has_an_empty_cell(tmp_path: Path) -> None:
    # And the product's cost, that stands in its row all the same, was not spent.
    revenue = [[4.0, None][n % 2] for n in range(200)]
    found = measure_log(table(tmp_path, revenue=revenue, cost=[1.0] * 200))
    assert [own.value for own in found.metrics] == [pytest.approx(3.0), pytest.approx(2.25)]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"logged": [None] * 200}, "200 of 200 rows have no logged probability"),
        ({"target": [0.4] * 199 + ["often"]}, "target of the log holds 'often', which is no number"),
        ({"user_id": [None] + ["u"] * 199}, "1 impressions have no user_id"),
        ({"user_id": ["ann", "ben"] * 100}, "worth 1.6 shoppers"),
        ({"target": [0.2] * 200}, "mean is 0.500"),
        ({"seller_rank": [None] * 200}, "200 of 200 impressions with revenue have no seller_rank"),
        ({"cost": [1] * 199 + [None]}, "1 of 200 impressions with revenue have no cost"),
    ],
)
def test_a_table_that_cannot_say_is_refused(tmp_path: Path, columns: dict[str, list[object]], words: str) -> None:
    written = {name: pl.Series([None if cell is None else str(cell) for cell in own]) for name, own in columns.items()}
    with pytest.raises(InvalidDataError) as refused:
        measure_log(table(tmp_path, **written))
    assert words in str(refused.value)


def test_columns_that_are_missing_are_named(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,revenue\nann,3\n")
    with pytest.raises(InvalidDataError, match="no column logged, target"):
        measure_log(str(tmp_path / "log.csv"))


def test_a_gate_asks_for_what_was_recorded(two_spokes: Workspace, tmp_path: Path) -> None:
    two_spokes.gate.set("garden", minimum={"revenue_per_impression": 3.0})
    asked = two_spokes.gate.check("garden", "garden:2")
    assert not asked.passes and "run `hubspoke evaluate business garden:2 --log FILE`" in asked.remedy
    log = table(tmp_path)
    assert two_spokes.quality.business("garden:2", log, record=False).evaluation is None
    card = two_spokes.quality.business("garden:2", log)
    assert (card.n_shoppers, card.n_impressions, card.ref, card.clip) == (200, 200, "garden:2", None)
    assert card.protocol == "impressions weighted by target / logged, self-normalised, no clip"
    record = two_spokes.registry.evaluations.get(str(card.evaluation))
    assert record.protocol["name"] == "business" and record.n_users == 200
    found = two_spokes.gate.check("garden", "garden:2")
    assert found.passes and found.conditions[0].measured == pytest.approx(3.5)
    # What one version would have earned says nothing of another.
    assert not two_spokes.gate.check("garden", "garden:1").passes


def _bought(*rows: tuple[object, ...]) -> pl.DataFrame:
    """Events of a shopper each: user, item, day, type, value, and the cost of a piece is 1."""
    columns = ("user_id", "item_id", "day", "event_type", "value")
    frame = pl.DataFrame([dict(zip(columns, row, strict=True)) for row in rows])
    times = pl.datetime(2026, 1, pl.col("day"), time_zone="UTC").dt.cast_time_unit("us")
    return frame.with_columns(times.alias("timestamp"), position=None)


def _split_of(events: pl.DataFrame, protocol: Protocol) -> tuple[list[tuple[object, ...]], list[str]]:
    events = events.with_row_index("row")
    bought = events.filter(pl.col("event_type") == "purchase")
    bought = bought.with_columns(revenue=pl.col("value"), cost=pl.when(pl.col("item_id") != "lid").then(1.0))
    held_out, before = split_purchases(bought, events, protocol)
    rows = held_out.select("user_id", "item_id", "revenue", "cost").sort("user_id", "item_id").rows()
    return rows, before["item_id"].to_list()


def test_what_is_held_out_is_the_last_event_or_a_window() -> None:
    events = _bought(
        ("ann", "pot", 1, "purchase", 5.0),
        ("ann", "pan", 3, "purchase", 7.0),
        ("ben", "pot", 2, "purchase", 5.0),
        ("ben", "pot", 4, "view", None),  # what was bought last was looked at later
        ("cem", "lid", 4, "purchase", 2.0),
        ("cem", "pan", 4, "purchase", 7.0),
        ("cem", "pan", 5, "purchase", 8.0),
    )
    assert _split_of(events, Protocol()) == (
        [("ann", "pan", 7.0, 1.0), ("cem", "pan", 8.0, 1.0)],
        ["pot", "pot", "lid", "pan"],
    )
    window = Protocol(
        name="temporal", test_from=datetime(2026, 1, 3, tzinfo=UTC), test_until=datetime(2026, 1, 6, tzinfo=UTC)
    )
    assert _split_of(events, window) == (
        [("ann", "pan", 7.0, 1.0), ("cem", "lid", 2.0, None), ("cem", "pan", 15.0, 2.0)],
        ["pot", "pot"],
    )


def test_a_simulation_counts_what_was_bought_by_its_rank(
    shop: Workspace, catalog: pl.DataFrame, events: pl.DataFrame, tiny_spoke: Any
) -> None:
    shop.domain.add(
        "sold", catalog, events.with_columns(event_type=pl.lit("purchase"), value=pl.lit(3.0)), sessions=WHOLE
    )
    shop.spoke.train("sold", config=tiny_spoke)
    card = shop.quality.simulated_business("sold:1", k=5)
    ranks, protocol = shop.evaluate.held_out("sold", "sold:1")
    counted = [3.0 / math.log2(1 + math.ceil(rank)) / 5 if rank <= 5 else 0.0 for rank in ranks["rank"]]
    (row,) = card.rows
    assert (row.metric, row.value) == ("simulated_revenue_per_impression@5", pytest.approx(sum(counted) / len(counted)))
    assert row.low is not None and row.low < row.value and card.simulated and card.n_purchases == len(counted)
    assert (
        card.protocol.startswith("SIMULATION on held-out purchases, lists of 5")
        and protocol.describe() in card.protocol
    )
    assert card.notes == ("no more than 1,000 products had sold before, so there is no long tail",)
    shop.gate.set("sold", minimum={"simulated_revenue_per_impression@5": 3.0})
    asked = shop.gate.check("sold", "sold:1")
    assert not asked.passes and asked.conditions[0].measured == pytest.approx(row.value)
    index = shop.index.build("hub:1", domain="sold").ref
    assert "run `hubspoke evaluate business hub:1 --domain sold`" in shop.gate.check("sold", index).remedy


def test_without_purchases_there_is_nothing_to_simulate(shop: Workspace, events: pl.DataFrame) -> None:
    shop.data.ingest("lamps", events=events.with_columns(event_type=pl.lit("view")))
    with pytest.raises(InvalidDataError, match="tells the revenue of no purchase; give purchases a value"):
        shop.quality.simulated_business("lamps:1")
    with pytest.raises(UsageError, match="A list of 0 earns nothing"):
        shop.quality.simulated_business("lamps:1", k=0)
