"""Heat maps: well-formed whatever the titles hold, every label and share in its place."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hubspoke.reports.heatmaps import (
    HeatColumn,
    HeatGroup,
    HeatMap,
    HeatRow,
    cut,
    draw_heat_map,
    share_text,
    text_width,
    wrapped,
)
from hypothesis import given
from hypothesis import strategies as st

SVG = "{http://www.w3.org/2000/svg}"


def heat_map(
    *rows: HeatRow, columns: tuple[HeatColumn, ...] = (HeatColumn("1. Pot"), HeatColumn("2. Fern"))
) -> HeatMap:
    return HeatMap("Why", "How to read it", columns, (HeatGroup("Events", rows),), ("Small print.",))


def texts(drawn: str) -> list[str]:
    return [text.text or "" for text in ET.fromstring(drawn).iter(f"{SVG}text")]


def test_labels_shares_and_captions_are_written() -> None:
    drawn = draw_heat_map(heat_map(HeatRow("1. Red rose", (0.62, -0.09)), HeatRow("2. Spade", (0.38, 0.91))))
    assert texts(drawn) == [
        "Why",
        "How to read it",
        "1. Pot",
        "2. Fern",
        "Events",
        *("1. Red rose", "62 %", "\N{MINUS SIGN}9 %"),
        *("2. Spade", "38 %", "91 %"),
        "Small print.",
    ]


def test_cells_stand_below_their_columns_and_beside_their_rows() -> None:
    rows = (HeatRow("a", (0.1, None, 0.3)), HeatRow("b", (0.4, 0.5, None)))
    columns = (HeatColumn("x"), HeatColumn("y"), HeatColumn("z", apart=True))
    root = ET.fromstring(draw_heat_map(heat_map(*rows, columns=columns)))
    place = {text.text: (float(text.get("x", 0)), float(text.get("y", 0))) for text in root.iter(f"{SVG}text")}
    assert place["10 %"][0] == place["40 %"][0] == place["x"][0]
    assert place["50 %"][0] == place["y"][0] and place["30 %"][0] == place["z"][0]
    assert place["10 %"][1] == place["30 %"][1] == place["a"][1] < place["40 %"][1] == place["50 %"][1]
    assert place["z"][0] - place["y"][0] > place["y"][0] - place["x"][0]
    width = float(root.get("width", 0))
    assert all(float(cell.get("x", 0)) + 116 <= width for cell in root.iter(f"{SVG}rect") if cell.get("rx"))


def test_colour_tells_for_from_against_and_strong_from_weak() -> None:
    root = ET.fromstring(draw_heat_map(heat_map(HeatRow("a", (0.9, -0.9)), HeatRow("b", (0.1, 0.0)))))
    cells = [cell.get("fill") or "" for cell in root.iter(f"{SVG}rect") if cell.get("rx")]
    assert cells[:2] == ["#2563c9", "#d1501f"]
    red, green, blue = (int(cells[2][at : at + 2], 16) for at in (1, 3, 5))
    assert 200 < red < green < blue
    assert len(set(cells)) == 4


@given(st.lists(st.text(max_size=60), min_size=1, max_size=4), st.floats(-1, 1))
def test_a_picture_is_well_formed_whatever_it_is_told(labels: list[str], share: float) -> None:
    columns = tuple(HeatColumn(label) for label in labels)
    rows = (HeatRow(label, (share,) * len(labels)) for label in labels)
    root = ET.fromstring(draw_heat_map(heat_map(*rows, columns=columns)))
    assert sum(1 for text in root.iter(f"{SVG}text") if text.text == share_text(share)) >= len(labels) ** 2


def test_long_labels_are_cut_and_kept_whole_for_a_pointer() -> None:
    long = "A watering can of zinc with a rose that was made for somebody else"
    drawn = draw_heat_map(heat_map(HeatRow(long, (0.5, 0.5)), columns=(HeatColumn(long), HeatColumn("b"))))
    assert long not in texts(drawn)
    assert [own.text for own in ET.fromstring(drawn).iter(f"{SVG}title")].count(long) == 2


@given(st.text(max_size=80), st.integers(2, 20))
def test_what_is_cut_or_wrapped_fits(text: str, width: int) -> None:
    assert text_width(cut(text, width)) <= width
    lines = wrapped(text, width, 3)
    assert 1 <= len(lines) <= 3
    assert all(text_width(line) <= width for line in lines)


def test_cutting_and_wrapping() -> None:
    assert cut("Red rose", 8) == "Red rose"
    assert cut("Red rose", 6) == "Red r…"
    assert wrapped("Desk pad with a leather edge", 9, 3) == ["Desk pad", "with a", "leather…"]
    assert wrapped("Desk pad", 9, 3) == ["Desk pad"]
    assert text_width("バラ") == 4
    assert text_width("e\N{COMBINING ACUTE ACCENT}") == 1


@pytest.mark.parametrize(
    ("share", "text"), [(0.624, "62 %"), (-0.091, "\N{MINUS SIGN}9 %"), (0, "0 %"), (-1e-3, "0 %")]
)
def test_shares_as_text(share: float, text: str) -> None:
    assert share_text(share) == text
