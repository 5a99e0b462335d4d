import polars as pl
import pytest
from hubspoke.catalog.parsing import chunks as module
from hubspoke.catalog.parsing import repeated


def test_pieces_are_changed_one_by_one_and_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", 2)
    seen: list[int] = []

    def change(piece: pl.Series) -> pl.Series:
        seen.append(len(piece))
        return piece.str.to_uppercase()

    column = pl.Series("c", ["A", None, "b", "", "E"])
    changed = module.piecewise(column, change)
    assert changed.to_list() == ["A", None, "B", "", "E"]
    assert seen == [2, 2, 1]
    assert module.piecewise(column, lambda piece: piece.str.len_bytes()).to_list() == [1, None, 1, 0, 1]
    assert module.piecewise(column.clear(), change).to_list() == []


@pytest.mark.parametrize("height", [0, 1, 2, 3, 4])
def test_a_value_is_repeated(monkeypatch: pytest.MonkeyPatch, height: int) -> None:
    monkeypatch.setattr(module, "PIECE", 2)
    assert repeated("x", pl.String(), height).to_list() == ["x"] * height
    assert repeated(None, pl.Int64(), height).equals(pl.Series([None] * height, dtype=pl.Int64))
