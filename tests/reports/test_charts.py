"""Figures show what they are given, whatever it is called, and the same figure is written as the same bytes."""

import math
import xml.etree.ElementTree as ET
from pathlib import Path

from hubspoke.reports.charts import (
    HeatGroup,
    Point,
    clean,
    heat_map,
    metric_curve,
    share_text,
    shortened,
    svg,
    write_figure,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

SVG = "{http://www.w3.org/2000/svg}"
CURVE = {"spoke": [Point(12, 0.06, 0.05, 0.07), Point(0, 0.02, 0.01, 0.03)], "hub": [Point(4, math.nan, 0, 0)]}


def texts(figure: Figure) -> list[str]:
    return [text.text or "" for text in ET.fromstring(svg(figure)).iter(f"{SVG}text")]


def heat(*rows: tuple[str, list[float | None]], columns: tuple[str, ...] = ("1. Pot", "2. Fern")) -> Figure:
    return heat_map("Why", columns, [HeatGroup("Events", rows)], None, ["Small print."])


def test_a_curve_runs_left_to_right_with_its_interval_and_a_name_per_system() -> None:
    figure = metric_curve(CURVE, "weeks", "NDCG@10", title="Launch")
    (axes,) = figure.axes
    spoke, hub = axes.lines
    assert spoke.get_xydata().tolist() == [[0, 0.02], [12, 0.06]]
    assert len(hub.get_xydata()) == 0
    edges = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (edges.min(), edges.max()) == (0.01, 0.07)
    assert {"Launch", "weeks", "NDCG@10", "spoke", "hub"} <= set(texts(figure))
    assert axes.get_ylim()[0] == 0.0


def test_cells_hold_their_shares_and_stand_in_their_order() -> None:
    figure = heat(("1. Red rose", [0.62, -0.09]), ("2. Spade", [0.38, None]))
    (axes,) = figure.axes
    places = {text.get_text(): text.get_position() for text in axes.texts}
    assert places == {"62 %": (0.5, 0.5), "\N{MINUS SIGN}9 %": (1.5, 0.5), "38 %": (0.5, 1.5)}
    assert axes.yaxis_inverted()
    assert {"Why", "Events", "1. Pot", "2. Fern", "1. Red rose", "Small print."} <= set(texts(figure))


def test_colour_tells_for_from_against_and_strong_from_weak() -> None:
    figure = heat(("a", [0.9, -0.9]), ("b", [0.1, 0.0]))
    svg(figure)
    cells = [to_hex(colour) for colour in figure.axes[0].collections[0].get_facecolors()]
    assert cells[:2] == ["#2563c9", "#d1501f"]
    red, green, blue = (int(cells[2][at : at + 2], 16) for at in (1, 3, 5))
    assert 200 < red < green < blue
    assert len(set(cells)) == 4


def test_a_column_apart_has_a_scale_of_its_own() -> None:
    events, parts = [("a", [0.9, 0.5]), ("b", [0.1, 0.25])], [("c", [1.0, None])]
    groups = [HeatGroup("Events", events), HeatGroup("Nothing", []), HeatGroup("Parts", parts)]
    items, attention, _, empty = heat_map("Why", ["Pot"], groups, "Attention", []).axes
    assert items.collections[0].get_array().tolist() == [[0.9], [0.1]]
    assert attention.collections[0].get_clim() == (-0.5, 0.5)
    assert [label.get_text() for label in attention.get_xticklabels()] == ["Attention"]
    assert list(empty.texts) == []


@settings(max_examples=8)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=2), st.floats(-1, 1))
@example(["_hidden", "$x"], 0.5)
@example([""], 0.0)
def test_a_picture_is_well_formed_whatever_it_is_told(labels: list[str], share: float) -> None:
    figure = heat(*((label, [share] * len(labels)) for label in labels), columns=tuple(labels))
    assert texts(figure).count(share_text(share)) >= len(labels) ** 2
    ET.fromstring(svg(metric_curve(dict.fromkeys(labels, CURVE["spoke"]), labels[0], labels[-1])))


def test_the_same_data_give_the_same_bytes(tmp_path: Path) -> None:
    for kind in ("svg", "png"):
        for name in "ab":
            write_figure(metric_curve(CURVE, "weeks", "NDCG@10"), tmp_path / f"{name}.{kind}")
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    assert b"<dc:date>" not in (tmp_path / "a.svg").read_bytes()


def test_a_drawing_takes_the_colours_of_its_page_and_holds_no_markup_of_a_user() -> None:
    drawn = svg(metric_curve({"<script>$5 & $6</script>": CURVE["spoke"]}, "weeks", "NDCG@10"))
    assert "var(--ink,#1c2430)" in drawn and "var(--c0,#2563c9)" in drawn
    assert drawn.startswith("<svg") and drawn.rstrip().endswith("</svg>")
    assert "<script" not in drawn
    assert "&lt;script&gt;$5 &amp; $6&lt;/script&gt;" in drawn
    assert "<svg" in svg(metric_curve({}, "weeks", "NDCG@10"))  # nothing to draw is a figure too


def test_labels_are_one_line_and_fit_and_shares_are_text() -> None:
    assert clean("a\x00b\n c") == "a b c"
    assert [shortened("Red rose", length) for length in (8, 6)] == ["Red rose", "Red r…"]
    assert [share_text(share) for share in (0.624, -0.091, 0, -1e-3)] == ["62 %", "\N{MINUS SIGN}9 %", "0 %", "0 %"]
