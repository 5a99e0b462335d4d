"""The page is complete, well-formed, escaped, and loads nothing."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hubspoke.errors import InvalidDataError
from hubspoke.evaluation.bootstrap import Estimate
from hubspoke.reports.report import (
    Bar,
    BarChart,
    Block,
    Card,
    Column,
    LineChart,
    Paragraph,
    Point,
    ProductStrip,
    Report,
    Section,
    Series,
    Table,
    Tree,
    image_data_uri,
    render,
)
from PIL import Image

EVIL = "<script>alert('x')</script> & \"y\""
VOID = {"meta", "img", "br"}


class TagBalance(HTMLParser):
    """Fails on a tag that is closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page(*blocks: Block, title: str = "Launch") -> str:
    return render(Report(title, "protocol", (Section("First", blocks),)))


def table(column: Column, *cells: object) -> str:
    return page(Table((Column("System"), column), tuple((f"s{n}", cell) for n, cell in enumerate(cells))))


def every_block(text: str) -> tuple[Block, ...]:
    return (
        Paragraph(text),
        Table((Column(text),), ((text,), (None,)), caption=text),
        LineChart(text, (Series(text, (Point(0, 1, 0.5, 1.5), Point(1, 2, 1.5, 2.5))),), text, text, caption=text),
        BarChart(text, (Bar(text, 1.0, 0.5, 1.5),), text),
        ProductStrip(text, (Card(text, text, text), Card(text, image="data:image/png;base64,AAAA"))),
        Tree(text),
    )


def test_every_text_is_escaped_and_the_page_is_well_formed() -> None:
    html = render(Report(EVIL, EVIL, (Section(EVIL, every_block(EVIL)),) * 3, footer=EVIL))
    assert "<script" not in html
    assert "alert" in html
    balance = TagBalance()
    balance.feed(html)
    assert balance.open == []


def test_the_page_refers_to_nothing_outside_itself() -> None:
    html = render(Report("Launch", "p", (Section("s", every_block("text")),) * 3))
    assert "http://" not in html
    assert "https://" not in html
    assert "default-src 'none'" in html
    assert all(address.startswith(("data:image/", "#s")) for address in re.findall(r'(?:src|href)="([^"]*)"', html))
    assert "prefers-color-scheme:dark" in html
    assert "width=device-width" in html


def test_the_same_report_gives_the_same_page() -> None:
    assert page(*every_block("a")) == page(*every_block("a"))


def test_the_best_number_of_a_column_is_highlighted() -> None:
    html = table(Column("NDCG@10", numeric=True, best="max"), 0.01, Estimate(0.06, 0.05, 0.07), None)
    assert '<td class="num best">0.0600<small>0.0500 to 0.0700</small></td>' in html
    assert html.count("num best") == 1
    assert '<td class="num best">3</td>' in table(Column("ms", numeric=True, best="min"), 3, 5)


def test_equal_bests_are_all_highlighted_and_a_lone_number_is_not() -> None:
    assert table(Column("HR", numeric=True, best="max"), 0.5, 0.5).count("num best") == 2
    assert table(Column("HR", numeric=True, best="max"), 0.5, "-").count("num best") == 0


def test_numbers_are_written_as_their_column_says() -> None:
    assert ">+0.01</td>" in table(Column("d", numeric=True, digits=2, signed=True), 0.012)
    assert ">&minus;0.0120</td>" in table(Column("d", numeric=True), -0.012)
    assert ">92,339</td>" in table(Column("items", numeric=True), 92339)
    for missing in (None, math.nan):
        assert '<span class="none">' in table(Column("d", numeric=True), missing)


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidDataError, match="1 cells under 2 columns"):
        page(Table((Column("a"), Column("b")), (("only",),)))


def test_pictures_are_embedded_and_others_refused(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.png")
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text("no picture", encoding="utf-8")
    png = image_data_uri(tmp_path / "a.png")
    assert png.startswith("data:image/png;base64,")
    assert image_data_uri(tmp_path / "a.jpg").startswith("data:image/jpeg;base64,")
    assert f'<img src="{png}" alt="Mug">' in page(ProductStrip("For you", (Card("Mug", image=png),)))
    with pytest.raises(InvalidDataError, match="neither PNG nor JPEG"):
        image_data_uri(tmp_path / "a.txt")
    with pytest.raises(InvalidDataError, match="data address"):
        page(ProductStrip("For you", (Card("Mug", image="https://example.org/mug.png"),)))


def test_a_tree_keeps_its_spacing_and_long_reports_have_contents() -> None:
    assert "<pre>a\n└── b</pre>" in page(Tree("a\n└── b"))
    three = render(Report("t", "s", tuple(Section(name, ()) for name in ("One", "Two", "Three"))))
    assert '<a href="#s2">Two</a>' in three
    assert "<nav>" not in page(Paragraph("short"))
