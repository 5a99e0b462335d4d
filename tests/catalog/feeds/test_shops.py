"""What is special about the exports of shops: sales, variants, and rows that contradict each other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hubspoke.catalog.feeds.google_merchant import GoogleMerchant
from hubspoke.catalog.feeds.magento import Magento
from hubspoke.catalog.feeds.woocommerce import WooCommerce
from hubspoke.catalog.intake import ReadResult
from hubspoke.catalog.layout import Layout
from hubspoke.catalog.readers import read_items
from hubspoke.catalog.tables import load_table
from hubspoke.errors import InvalidDataError

FIXTURES = Path(__file__).with_name("fixtures")
SHOPIFY = "Handle,Title,Variant SKU,Variant Price,Option1 Name,Option1 Value,Status\n"
WOO = "ID,Type,SKU,Name,Published,In stock?,Regular price,Sale price,Parent,Short description,Tax status\n"


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., ReadResult]:
    def of(text: str, mapping: dict[str, str] | None = None, name: str = "items.csv", **layout: object) -> ReadResult:
        (tmp_path / name).write_text(text)
        return read_items(tmp_path / name, mapping, on_error="skip", layout=Layout(**layout))  # type: ignore[arg-type]

    return of


def rows(result: ReadResult, *names: str) -> list[tuple[object, ...]]:
    return result.frame.select(names).rows()


@pytest.mark.parametrize(
    ("feed", "file", "regular", "sale", "last"),
    [
        (GoogleMerchant, "merchant.tsv", "80.00 EUR", "60.00 EUR", "2024-02-29T22:58"),
        (WooCommerce, "woocommerce.csv", "12", "9", "2024-02-28T23:59"),
        (Magento, "magento.csv", "34", "29", "2024-02-28T23:59"),
    ],
)
def test_a_sale_lasts_as_long_as_it_says(feed: Any, file: str, regular: str, sale: str, last: str) -> None:
    table, end = load_table(FIXTURES / file), datetime.fromisoformat(last).replace(tzinfo=UTC)
    for now, price in ((datetime(2024, 1, 31, 22, tzinfo=UTC), regular), (datetime(2024, 2, 1, 10, tzinfo=UTC), sale),
                       (end, sale), (end + timedelta(minutes=2), regular)):  # fmt: skip
        frame = feed(now=lambda now=now: now).shape(table, Layout()).table.frame
        assert frame["price"][0] == price
        told = [pair["value"] for pair in frame["attributes"][0] if pair["key"] == "regular_price"]
        assert told == ([regular] if price == sale else [])


def test_shopify_reports_what_contradicts_itself(read: Callable[..., ReadResult]) -> None:
    text = SHOPIFY + "a,Apron,A1,9,Size,S,active\na,,A2,cheap,,M,\nb,Board,B1,5,,,active\nb,Bowl,B2,6,,,on hold\n"
    text += ",Cup,C1,4,,,active\n"
    result = read(text)
    assert rows(result, "item_id", "title", "price", "available") == [
        ("a", "Apron", None, True), ("b", "Board", 5.0, True)
    ]  # fmt: skip
    found = [(problem.code, problem.row, problem.value) for problem in result.report.problems]
    assert found == [("bad_price", 1, "cheap"), ("bad_available", 4, "on hold"), ("duplicate_item_id", 4, "b"),
                     ("missing_item_id", 5, None)]  # fmt: skip


@pytest.mark.parametrize("mapping", [{"item_id": "Variant SKU"}, {"item_id": "Variant SKU", "title": "Title"}])
def test_shopify_by_sku_has_an_item_a_variant(read: Callable[..., ReadResult], mapping: dict[str, str]) -> None:
    result = read(SHOPIFY + "a,Apron,A1,9,Size,S,active\na,,A2,8,,M,\na,,,,,,\n", mapping)
    assert rows(result, "item_id", "title", "price") == [("A1", "Apron - S", 9.0), ("A2", "Apron - M", 8.0)]
    assert result.frame["attributes"][1].to_list() == [
        {"key": "Size", "value": "M"}, {"key": "item_group_id", "value": "a"}
    ]  # fmt: skip


def test_woocommerce_without_some_sku_is_keyed_by_id(read: Callable[..., ReadResult]) -> None:
    text = WOO + "1,simple,,Cup,1,1,5,,,,taxable\n2,simple,B,Bowl,1,1,,3,,,\n3,variation,,Lid,1,0,2,,id:9,,\n"
    result = read(text)
    assert rows(result, "item_id", "title", "price", "available") == [
        ("1", "Cup", 5.0, True), ("2", "Bowl", None, True), ("3", "Lid", 2.0, False)
    ]  # fmt: skip
    assert result.mapping["item_id"] == "ID"
    assert "2 items have no SKU, so all are named by their ID" in result.report.notes
    assert "variations whose product the file lacks, each an item of its own: 1" in result.report.notes


def test_a_page_of_products_resolves_what_it_refers_to(read: Callable[..., ReadResult]) -> None:
    text = (
        '<html><script type="application/ld+json">{"@graph": [{"@type": "Brand", "@id": "#b", "name": "Lys"},'
        '{"@type": "Product", "sku": "L", "name": "Lamp", "brand": {"@id": "#b"},'
        '"weight": {"value": 2, "unitCode": "kg"}}'
        ']}</script><script type="application/ld+json">{"@type": "ItemList", "itemListElement": [{"@type": "ListItem",'
        '"item": {"@type": "Product", "sku": "V", "name": "Vase", "offers": {"price": "1e1"}}}]}</script></html>'
    )
    result = read(text, name="page.html")
    assert rows(result, "item_id", "title", "brand", "price") == [("L", "Lamp", "Lys", None), ("V", "Vase", None, 10.0)]
    assert result.frame["attributes"][0].to_list() == [{"key": "weight", "value": "2 kg"}]
    assert "objects that are no products were left out: 1 x Brand" in result.report.notes


def test_a_format_asked_for_by_name_names_what_it_lacks(read: Callable[..., ReadResult]) -> None:
    for name, column in (("shopify", "Handle"), ("woocommerce", "ID"), ("magento", "sku"), ("google-merchant", "id")):
        with pytest.raises(InvalidDataError, match=f"Format {name} reads {column}, which the table lacks"):
            read("a,b\n1,2\n", format=name)


def test_pandas_frames_are_read_as_files_are() -> None:
    frame = pl.read_csv(FIXTURES / "shopify-old.csv", infer_schema_length=None)
    frame = frame.with_columns(pl.col("Variant Price").cast(pl.Float64))
    result = read_items(frame)
    assert rows(result, "item_id", "price", "available") == [
        ("felt-hat", 29.0, True), ("clay-pot", 8.0, False), ("tin-cup", 5.0, False)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "columns", "expected"),
    [
        (
            "rss.xml",
            '<rss xmlns:g="x"><channel><item><g:id>1</g:id><title>Pan</title><description>Iron</description>'
            "<g:price>5 EUR</g:price></item><item><g:id>2</g:id><g:title>Pot</g:title><g:description>Clay"
            "</g:description><g:price>6 EUR</g:price></item></channel></rss>",
            ("item_id", "title", "description"),
            [("1", "Pan", "Iron"), ("2", "Pot", "Clay")],
        ),
        (
            "atom.xml",
            '<feed xmlns:g="x"><entry><id>tag:a,1</id><g:id>1</g:id><title>Lamp</title><summary>Desk lamp</summary>'
            "<g:price>5 EUR</g:price></entry><entry><id>tag:a,2</id><g:id>2</g:id><title>Bulb</title>"
            "<g:price>6 EUR</g:price></entry></feed>",
            ("item_id", "title", "description"),
            [("1", "Lamp", "Desk lamp"), ("2", "Bulb", None)],
        ),
        (
            "woo.csv",
            WOO + '1,simple,A,Cap,1,1,5,,,"Warm\\n\\n<ul>\\n<li>Wool</li></ul>",taxable\n',
            ("item_id", "description"),
            [("A", "Warm. Wool")],
        ),
        (
            "configurable.csv",
            "sku,name,product_type,product_online,price,qty,configurable_variations\n"
            'c,Boot,configurable,1,0.0000,0,"sku=c-1,size=1|sku=c-2,size=2"\nc-1,Boot 1,simple,1,95,3,\n'
            "c-2,Boot 2,simple,1,90,0,\nb,Set,bundle,1,0,0,\ns,Sock,simple,1,0,0,\n",
            ("item_id", "price", "available"),
            [("c", 90.0, True), ("b", None, True), ("s", 0.0, False)],
        ),
        (
            "magento.csv",
            'sku,name,product_type,product_online,created_at\na,Pan,simple,1,"4/3/24, 1:05 PM"\n'
            'b,Pot,simple,1,"31/3/24, 1:05 PM"\n',
            ("item_id", "created_at"),
            [("a", datetime(2024, 3, 4, 13, 5, tzinfo=UTC)), ("b", datetime(2024, 3, 31, 13, 5, tzinfo=UTC))],
        ),
    ],
)  # fmt: skip
def test_what_programs_write_each_in_their_own_way(
    read: Callable[..., ReadResult], name: str, text: str, columns: tuple[str, ...], expected: list[object]
) -> None:
    assert rows(read(text, name=name), *columns) == expected


SHOPIFY_JSON = """{"products": [
 {"id": 9, "handle": "mug", "title": "Mug", "body_html": "<p>Clay</p>", "product_type": "Cups", "status": "active",
  "published_at": "2024-01-02T03:04:05Z", "tags": ["a", "b"], "options": [{"name": "Size"}],
  "variants": [{"id": 1, "sku": "M-S", "price": "9.00", "option1": "S", "inventory_quantity": 0, "image_id": 5},
               {"id": 2, "sku": "M-L", "price": "8.50", "option1": "L", "inventory_quantity": 3}],
  "images": [{"id": 5, "src": "s.jpg", "position": 2}, {"id": 6, "src": "l.jpg", "position": 1}]},
 {"id": 8, "handle": "cup", "title": "Cup", "status": "draft", "published_at": null, "options": [], "images": [],
  "variants": [{"id": 3, "sku": "C", "price": "5.00", "option1": "Default Title", "available": true}]}]}"""
WOO_JSON = """[
 {"id": 4, "name": "Cap", "type": "variable", "status": "publish", "catalog_visibility": "visible", "sku": "",
  "regular_price": "", "sale_price": "", "price": "16", "stock_status": "instock", "parent_id": 0,
  "categories": [{"id": 1, "name": "Hats, caps"}, {"id": 2, "name": "Sale"}], "images": [{"id": 3, "src": "c.jpg"}],
  "attributes": [{"name": "Colour", "options": ["Red", "Blue"]}]},
 {"id": 5, "name": "Hat", "type": "simple", "status": "draft", "catalog_visibility": "visible", "sku": "H",
  "regular_price": "20", "sale_price": "15", "price": "15", "stock_status": "instock", "parent_id": 0,
  "categories": [], "images": [], "attributes": []}]"""


@pytest.mark.parametrize(
    ("text", "level", "expected"),
    [
        (SHOPIFY_JSON, "product", [("mug", "Mug", ["Cups"], 8.5, True), ("cup", "Cup", None, 5.0, False)]),
        (SHOPIFY_JSON, "variant", [("M-S", "Mug - S", ["Cups"], 9.0, False), ("M-L", "Mug - L", ["Cups"], 8.5, True),
                                   ("C", "Cup", None, 5.0, False)]),
        (WOO_JSON, "product", [("4", "Cap", ["Hats, caps"], 16.0, True), ("5", "Hat", None, 15.0, False)]),
    ],
)  # fmt: skip
def test_what_shops_give_to_programs_is_read_as_their_export(
    read: Callable[..., ReadResult], text: str, level: str, expected: list[object]
) -> None:
    result = read(text, name="items.json", level=level)
    assert rows(result, "item_id", "title", "category_path", "price", "available") == expected


@pytest.mark.parametrize(
    "header",
    [
        "ID;Typ;Artikelnummer;Name;Veröffentlicht;Sichtbarkeit im Katalog;Vorrätig?;Angebotspreis;Regulärer Preis;"
        "Kategorien;Bilder;Übergeordnet;Attribut 1 Name;Attribut 1 Wert(e)",
        "ID;Type;UGS;Nom;Publié;Visibilité dans le catalogue;En stock ?;Tarif promo;Tarif régulier;Catégories;Images;"
        "Parent;Nom de l’attribut 1;Valeur(s) de l’attribut 1",
        "ID;Tipo;SKU;Nombre;Publicado;Visibilidad en el catálogo;¿En inventario?;Precio rebajado;Precio normal;"
        "Categorías;Imágenes;Superior;Nombre del atributo 1;Valor(es) del atributo 1",
        "ID;Type;SKU;Naam;Gepubliceerd;Zichtbaarheid in catalogus;Op voorraad?;Actieprijs;Reguliere prijs;"
        "Categorieën;Afbeeldingen;Hoofd;Naam eigenschap 1;Waarde(n) eigenschap 1",
    ],
)
def test_woocommerce_is_read_in_other_languages(read: Callable[..., ReadResult], header: str) -> None:
    text = (
        "1;variable;V;Duft;1;visible;1;;;A > B, C;;;Size;S, L\n2;variation;V-S;Duft - S;1;visible;1;;12,50;;;V;Size;S\n"
    )
    text += "3;simple;K;Kerze;-1;visible;1;3,50;4,90;A;;;;\n"
    result = read(header + "\n" + text)
    found = rows(result, "item_id", "title", "category_path", "price", "available")
    assert result.format == "woocommerce"
    assert found == [("V", "Duft", ["A", "B"], 12.5, True), ("K", "Kerze", ["A"], 3.5, False)]
    assert result.frame["attributes"][0].to_list()[0] == {"key": "Size", "value": "S, L"}
