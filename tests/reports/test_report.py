"""The page is complete, well-formed, escaped, and loads nothing."""

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hubspoke.errors import InvalidDataError
from hubspoke.evaluation.bootstrap import Estimate
from hubspoke.reports.charts import Point, metric_curve
from hubspoke.reports.report import (
    Block,
    Card,
    Chart,
    Column,
    ProductStrip,
    Report,
    Section,
    Table,
    Tree,
    data_uri,
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


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "mug.png"
    Image.new("RGB", (4, 4), "red").save(path)
    return path


def page(*blocks: Block) -> str:
    return render(Report("Launch", "protocol", [Section("First", blocks)]))


def table(column: Column, *cells: object) -> str:
    return page(Table((Column("System"), column), [(f"s{n}", cell) for n, cell in enumerate(cells)]))


def every_block(text: str, picture: Path) -> list[Block]:
    curve = metric_curve({text: [Point(0, 1, 0.5, 1.5), Point(1, 2, 1.5, 2.5)]}, text, text)
    strip = ProductStrip(text, [Card(text, [text, text]), Card(text, image=picture)])
    return [text, Table([Column(text)], [[text], [None]], caption=text), Chart(text, curve), strip, Tree(text)]


def test_every_text_is_escaped_and_the_page_is_well_formed(picture: Path) -> None:
    html = render(Report(EVIL, EVIL, [Section(EVIL, every_block(EVIL, picture))] * 3, footer=EVIL))
    assert "<script" not in html and "alert" in html
    balance = TagBalance()
    balance.feed(html)
    assert balance.open == []


def test_the_page_loads_nothing_from_outside_itself(picture: Path) -> None:
    html = render(Report("Launch", "p", [Section("s", every_block("text", picture))] * 3))
    addresses = re.findall(r'(?:src|href)="([^"]*)"', html) + re.findall(r"url\(([^)]*)\)", html)
    assert addresses and all(address.startswith(("data:image/", "#")) for address in addresses)
    assert not [tag for tag in ("<link", "<iframe", "@import", "<object") if tag in html]
    assert "default-src 'none'" in html and "prefers-color-scheme:dark" in html
    assert html == render(Report("Launch", "p", [Section("s", every_block("text", picture))] * 3))


def test_the_best_number_of_a_column_is_highlighted() -> None:
    html = table(Column("NDCG@10", numeric=True, best="max"), 0.01, Estimate(0.06, 0.05, 0.07), None)
    assert '<td class="num best">0.0600<small>0.0500 to 0.0700</small></td>' in html
    assert html.count("num best") == 1
    assert '<td class="num best">3</td>' in table(Column("ms", numeric=True, best="min"), 3, 5)
    assert table(Column("HR", numeric=True, best="max"), 0.5, 0.5).count("num best") == 2
    assert table(Column("HR", numeric=True, best="max"), 0.5, "-").count("num best") == 0


def test_numbers_are_written_as_their_column_says() -> None:
    assert ">+0.01</td>" in table(Column("d", numeric=True, digits=2, signed=True), 0.012)
    assert ">\N{MINUS SIGN}0.0120</td>" in table(Column("d", numeric=True), -0.012)
    assert ">92,339</td>" in table(Column("items", numeric=True), 92339)
    for missing in (None, math.nan):
        assert ">\N{EN DASH}</td>" in table(Column("d", numeric=True), missing)
    with pytest.raises(InvalidDataError, match="1 cells under 2 columns"):
        Table((Column("a"), Column("b")), [("only",)])


def test_pictures_are_embedded_and_what_is_none_refused(tmp_path: Path, picture: Path) -> None:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text("no picture", encoding="utf-8")
    assert data_uri(tmp_path / "a.jpg").startswith("data:image/jpeg;base64,")
    html = page(ProductStrip("For you", [Card("Mug", image=picture), Card("Cup")]))
    assert f'<img src="{data_uri(picture)}" alt="Mug">' in html
    assert html.count('<div class="blank">') == 1
    assert '<div class="blank">' not in page(ProductStrip("For you", [Card("Mug")]))
    with pytest.raises(InvalidDataError, match="neither PNG nor JPEG"):
        page(ProductStrip("For you", [Card("Mug", image=tmp_path / "a.txt")]))


def test_a_tree_keeps_its_spacing_and_long_reports_have_contents() -> None:
    assert "<pre>a\n└── b</pre>" in page(Tree("a\n└── b"))
    assert '<a href="#s2">Two</a>' in render(Report("t", "s", [Section(name, ()) for name in ("One", "Two", "Three")]))
    assert "<nav>" not in page("short")
