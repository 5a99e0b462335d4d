import polars as pl
import pytest
from hubspoke.catalog import parsing

PATHS = (
    ["Home/Kitchen/Cups", "Home / Kitchen", "Home/Garden"],
    ["Men/Shoes", "Men/Shirts", "Women/Shoes", "Women"],
    ["/home/kitchen/", "/garden/pots"],
    ["Home, Kitchen, Cups", "Home, Kitchen", "Home, Garden"],
)
NAMES = (
    ["Salt/Pepper", "Salt/Pepper", "Cups"],
    ["T-Shirts/Tops", "Shoes/Boots", "Bags/Luggage", "TV/Video"],
    ["Audio/Video", "Audio/Visual", "TV", "Phones", "Tablets"],
    ["1/2", "1/4", "1/8"],
    ["https://a/b", "https://a/c", "https://a/d"],
    ["Health, Beauty & Care", "Sofas, Chairs and Tables", "Garden"],
    ["Tees, Sale", "Hoodies, Sale", "Sale, Winter"],
)


@pytest.mark.parametrize("cells", PATHS)
def test_paths_share_their_beginnings(cells: list[str]) -> None:
    found = parsing.paths(pl.Series(cells))
    assert all(len(path) == len([own for own in cell.replace(",", "/").split("/") if own.strip()])
               for path, cell in zip(found.values, cells, strict=True))  # fmt: skip
    assert found.note is not None
    assert cells[0] in found.note


@pytest.mark.parametrize("cells", NAMES)
def test_names_that_hold_the_same_signs_stay(cells: list[str]) -> None:
    found = parsing.paths(pl.Series(cells))
    assert found.values.to_list() == [[cell] for cell in cells]
    assert found.note is None


@pytest.mark.parametrize(
    ("cells", "paths", "several"),
    [
        (
            ["Home,Home > Kitchen,Sale", "Home > Garden", "Sale"],
            [["Home", "Kitchen"], ["Home", "Garden"], ["Sale"]],
            1,
        ),
        (
            ["Shop All/Bath;Bath", "Shop All/Garden", "Shop All/Kitchen"],
            [["Shop All", "Bath"], ["Shop All", "Garden"], ["Shop All", "Kitchen"]],
            1,
        ),
        (
            ["Clothing, Shoes & Jewelry > Women", "Patio, Lawn & Garden > Grills, Smokers & Fryers > Ovens"],
            [["Clothing, Shoes & Jewelry", "Women"], ["Patio, Lawn & Garden", "Grills, Smokers & Fryers", "Ovens"]],
            0,
        ),
    ],
)
def test_lists_of_paths_give_their_deepest(cells: list[str], paths: list[list[str]], several: int) -> None:
    found = parsing.paths(pl.Series(cells))
    assert (found.values.to_list(), found.several) == (paths, several)
