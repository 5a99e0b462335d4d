"""What a version would have earned: read from a table, refused, recorded, and asked for by a gate."""

from pathlib import Path

import polars as pl
import pytest
from hubspoke.errors import InvalidDataError
from hubspoke.workflows.assessment.impressions import measure_log
from hubspoke.workflows.workspace import Workspace


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
