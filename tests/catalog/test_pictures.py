from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hubspoke.catalog.pictures import picture_lists, pictures_by_id
from hubspoke.catalog.readers import read_items
from PIL import Image


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("a.jpg", "b.jpg", "c, d.jpg", "e;f.jpg", "sub/g.jpg", "7.png", "8/2.png", "8/10.png", "8/1.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (16, 16), (9, 99, 9)).save(folder / name)
    for name in ("010/0100001.jpg", "010/0100002_2.jpg", "010/0100002.jpg", "010/notes.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("")
    return folder


@pytest.mark.parametrize(
    ("cell", "pictures"),
    [
        ("a.jpg, b.jpg", ["a.jpg", "b.jpg"]),
        ("a.jpg;b.jpg|x.jpg", ["a.jpg", "b.jpg", "x.jpg"]),
        ("c, d.jpg", ["c, d.jpg"]),
        ("a.jpg; c, d.jpg", ["a.jpg", "c, d.jpg"]),
        ("e;f.jpg", ["e;f.jpg"]),
        ("red, large", ["red, large"]),
        ("sub\\g.jpg", ["sub/g.jpg"]),
        ("https://x.example/w_1,h_2;q/a.jpg", ["https://x.example/w_1,h_2;q/a.jpg"]),
        ("https://x.example/a.jpg, https://x.example/b.jpg", ["https://x.example/a.jpg", "https://x.example/b.jpg"]),
        ("https://x.example/a.jpg //x.example/b.jpg", ["https://x.example/a.jpg", "//x.example/b.jpg"]),
        ("a.jpg,http://x.example/b,c.jpg", ["a.jpg", "http://x.example/b,c.jpg"]),
        ('["a.jpg", "c, d.jpg"]', ["a.jpg", "c, d.jpg"]),
        ("a.jpg", ["a.jpg"]),
        ("", None),
    ],
)
def test_a_cell_names_one_picture_or_several(root: Path, cell: str, pictures: list[str] | None) -> None:
    assert picture_lists(pl.Series([cell, None]), root).to_list() == [pictures, None]


def test_lists_are_not_split_again(root: Path) -> None:
    column = pl.Series([["https://x.example/a,https://b.jpg", "sub\\g.jpg"], None])
    assert picture_lists(column, root).to_list() == [["https://x.example/a,https://b.jpg", "sub/g.jpg"], None]


def test_pictures_are_found_by_item_id(root: Path) -> None:
    ids = pl.Series(["7", "8", "0100001", "0100002", "9", None])
    found = [["7.png"], ["8/1.jpg", "8/2.png", "8/10.png"], ["010/0100001.jpg"]]
    found += [["010/0100002.jpg", "010/0100002_2.jpg"], None, None]
    assert pictures_by_id(ids, root).to_list() == found


@pytest.mark.parametrize(
    ("header", "images", "found", "left"),
    [
        ("sku,name", ("", ""), [["7.png"], None], {}),
        ("sku,name,image", (",", ","), [["7.png"], None], {}),
        (
            "sku,name,image",
            (",https://x.example/7.jpg", ",https://x.example/9.jpg"),
            [["7.png"], None],
            {"image_address": 1},
        ),
        ("sku,name,image", (",", ",a.jpg"), [None, ["a.jpg"]], {}),
    ],
)
def test_files_of_ids_are_taken_where_no_column_names_any(
    root: Path, tmp_path: Path, header: str, images: tuple[str, str], found: list[object], left: dict[str, int]
) -> None:
    (tmp_path / "items.csv").write_text(f"{header}\n7,Spade{images[0]}\n9,Rake{images[1]}\n")
    read = read_items(tmp_path / "items.csv", image_root=root)
    assert (read.frame["image"].to_list(), read.report.counts) == (found, left)
    told = f"no column names files: 1 of 2 items have some of their id in {root}" in read.report.notes
    assert told == (found[0] is not None)


def test_addresses_are_left_aside_with_a_warning(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text('sku,name,image\n1,Spade,"https://x.example/a.jpg, a.jpg"\n2,Rake,https://x.example/b.jpg\n')
    read = read_items(path, image_root=root)
    assert read.frame["image"].to_list() == [["a.jpg"], None]
    assert read.report.counts == {"image_address": 2}
    assert [problem.row for problem in read.report.problems] == [1, 2]
    assert "pictures that are addresses: 2; --download-images fetches them" in read.report.notes
    in_memory = read_items(pl.DataFrame({"id": ["1"], "name": ["Spade"], "image": ["https://x.example/a.jpg"]}))
    assert (in_memory.frame["image"].to_list(), in_memory.report.counts["image_address"]) == ([None], 1)
