"""Which column of a table holds what: by its name first, and then by whether its values can be that.

A name proposes, values decide: a column without any value never wins over another one, and one whose values are no
prices, times or pictures is not read as such.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from . import parsing
from .event_words import EventWords
from .schema import REQUIRED, SCHEMAS, Kind
from .spilling import let_go
from .transforms import ALL, RECBOLE, Origin, as_option, is_nobody

SAMPLE = 1_000  # values that a guess looks at
MATCHED = 20_000  # ids that are held against the catalog
FULL = 0.99  # share of rows with a value from which a column can stand in for another

# Best name first; compared without case, spaces, accents, punctuation, RecBole's types and what stands in parentheses.
SYNONYMS: dict[Kind, dict[str, tuple[str, ...]]] = {
    "items": {
        "item_id": ("product_id", "sku", "variant_sku", "asin", "parent_asin", "article_id", "movie_id", "id", "item",
                    "item_sku", "product_sku", "seller_sku", "id_product", "uniq_id", "unique_id",
                    "product_code", "stock_code", "item_code", "article_number", "artikelnummer", "item_number",
                    "product_number", "variant_id", "product", "article", "handle", "ean", "gtin",
                    "artikelnr", "artikel_nummer", "artnr", "art_no", "produktnummer", "modellnummer", "bestellnummer",
                    "referencia", "codigo", "codice", "codice_articolo", "artikel", "reference", "sku_id", "goods_id",
                    "isbn", "code_article", "code_produit", "codigo_producto", "codice_prodotto", "artikelcode",
                    "productcode", "kod_produktu", "kod", "varenummer", "artikul", "артикул", "код_товара", "код",
                    "商品番号", "商品コード", "商品编号", "商品id"),
        "title": ("name", "product_name", "item_name", "product_title", "item_title", "prod_name", "display_name",
                  "title_en", "name_en", "artikelname", "produktname", "bezeichnung", "titel", "nombre", "titre",
                  "artikelbezeichnung", "produktbezeichnung", "produkttitel", "nom", "nom_du_produit", "designation",
                  "libelle", "nombre_del_producto", "titulo", "nome", "nome_prodotto", "titolo", "naam", "productnaam",
                  "nazwa", "nazev", "namn", "produktnamn", "navn", "produktnavn", "nimi", "book_title", "movie_title",
                  "наименование", "название", "商品名", "商品名称", "製品名", "标题"),
        "description": ("product_description", "detail_desc", "desc", "body", "body_html", "long_description",
                        "short_description", "details", "overview", "text", "beschreibung", "descripcion",
                        "langbeschreibung", "produktbeschreibung", "artikelbeschreibung", "kurzbeschreibung",
                        "descrizione", "descricao", "omschrijving", "beschrijving", "opis", "beskrivning",
                        "beskrivelse", "popis", "описание", "商品説明", "説明", "描述", "商品描述"),
        "brand": ("brand_name", "manufacturer", "vendor", "maker", "marke", "hersteller", "marca", "marque",
                  "fabricant", "fabricante", "produttore", "merk", "fabrikant", "marka", "producent", "varumarke",
                  "бренд", "производитель", "ブランド", "メーカー", "品牌"),
        "category_path": ("categories", "category", "product_category", "category_name", "product_type", "genres",
                          "item_category", "main_category", "google_product_category", "product_type_name", "type",
                          "department", "kategorie", "kategorien", "categoria", "categorie",
                          "categorias", "kategoria", "kategori", "warengruppe", "produktkategorie", "produktgruppe",
                          "rubrique", "rayon", "famille", "rubriek", "familia", "reparto", "collection", "produkttyp",
                          "type_de_produit", "tipo_de_producto", "google_produktkategorie", "category_hierarchies",
                          "категория", "カテゴリ", "カテゴリー", "分类", "类别"),
        "price": ("regular_price", "variant_price", "list_price", "unit_price", "retail_price", "current_price",
                  "sale_price", "amount", "preis", "precio", "prix", "prezzo",
                  "regularer_preis", "normalpreis", "verkaufspreis", "vk_preis", "vkpreis", "bruttopreis",
                  "preis_brutto", "preis_eur", "prix_ttc", "prix_de_vente", "prix_unitaire", "precio_normal", "pvp",
                  "preco", "prezzo_di_listino", "prijs", "verkoopprijs", "cena", "cena_brutto", "pris", "hinta",
                  "цена", "価格", "販売価格", "价格"),
        "currency": ("price_currency", "currency_code", "currency_id", "waehrung", "wahrung", "moneda", "devise",
                     "moeda", "valuta", "waluta", "mena"),
        "image": ("images", "image_path", "image_file", "picture", "photo", "image_name", "img", "image_link",
                  "image_src", "image_url", "picture_url", "main_image", "bild", "imagen",
                  "image_urls", "product_image", "bilder", "bild_url", "bildurl", "produktbild", "hauptbild",
                  "imagenes", "image_principale", "immagine", "immagini", "afbeelding", "afbeeldingen", "foto", "fotos",
                  "zdjecie", "zdjecia", "obrazek", "im_url", "bildlink", "картинка", "изображение", "画像", "图片"),
        "available": ("availability", "in_stock", "is_in_stock", "stock_status", "is_available", "is_active", "active",
                      "enabled", "published", "visible", "is_visible", "status", "stock", "stock_quantity",
                      "inventory_quantity", "inventory", "qty", "quantity", "verfugbar", "verfugbarkeit",
                      "vorratig", "lieferbar", "auf_lager", "lieferstatus", "lagerstatus", "bestand", "lager", "menge",
                      "lagerbestand",
                      "veroffentlicht", "aktiv", "disponibilite", "disponible", "en_stock", "statut", "publie",
                      "disponibilidad", "existencias", "en_inventario", "inventario", "estado", "disponibilita",
                      "disponibile", "giacenza", "disponibilidade", "estoque", "beschikbaarheid", "beschikbaar",
                      "op_voorraad", "voorraad", "dostepnosc", "stan_magazynowy", "tillganglighet", "lagersaldo",
                      "dostupnost", "quantite", "product_visible", "is_published", "наличие", "остаток",
                      "在庫", "库存"),
        "created_at": ("created", "date_added", "launch_date", "first_seen", "added_at", "create_time"),
        "cost": ("unit_cost", "purchase_price", "cost_price", "cost_per_item", "cogs", "einkaufspreis",
                 "ek_preis", "prix_d_achat", "precio_de_compra"),
    },
    "events": {
        "user_id": ("user", "uid", "customer_id", "customer", "household_id", "visitor_id", "full_visitor_id",
                    "client_id", "shopper_id", "reviewer_id", "member_id", "account_id", "user_pseudo_id",
                    "anonymous_id", "distinct_id", "device_id", "cookie_id", "customer_email", "user_email", "email",
                    "profile_email", "household_key", "domain_userid", "visitor", "customer_no", "customer_number",
                    "kundennummer", "kunden_id", "kunde", "client", "cliente", "id_client"),
        "item_id": ("product_id", "sku", "asin", "parent_asin", "article_id", "movie_id", "item", "product",
                    "stock_code", "product_code", "item_code", "article", "item_sku", "product_sku", "variant_sku",
                    "lineitem_sku", "variant_id", "artikelnummer", "ean", "gtin", "sku_id", "goods_id", "isbn",
                    "business_id", "article_no", "article_number", "item_no", "product_no", "artikel_nr", "reference",
                    "referencia", "артикул", "商品コード"),
        "timestamp": ("event_time", "datetime", "transaction_timestamp", "event_timestamp", "ts", "unix_timestamp",
                      "unix_review_time", "invoice_date", "order_date", "purchase_date", "t_dat", "created_at",
                      "date_time", "event_date", "date", "time", "visit_time", "datum", "order_purchase_timestamp",
                      "order_time", "ordered_at", "purchased_at", "occurred_at", "server_timestamp",
                      "collector_tstamp"),
        "event_type": ("event", "event_name", "action", "behavior", "behaviour", "behavior_type", "action_type",
                       "interaction", "interaction_type", "type"),
        "session_id": ("session", "basket_id", "order_id", "invoice", "invoice_no", "visit_id", "user_session",
                       "transaction_id", "ga_session_id"),
        "query": ("search_query", "search_term", "keywords", "search_text"),
        "value": ("sales_value", "revenue", "line_total", "lineitem_price", "amount", "sales", "umsatz", "betrag",
                  "montant", "importe"),
        "quantity": ("qty", "count", "units", "quantity_sold", "lineitem_quantity", "menge", "anzahl", "quantite",
                     "cantidad"),
        "position": ("sequence", "seq", "seq_no", "event_index"),
    },
}  # fmt: skip
# Parts of plain names that tell where no whole name does (`vkpreisbrutto`), and those that make it another thing.
PARTS: dict[str, tuple[str, str]] = {
    "price": ("price|preis|prix|prezzo|precio|preco|prijs|cena", "old|was|before|compare|sale|special|discount|promo"
              "|cost|purchase|list|rrp|msrp|uvp|statt|alt|streich|grund|einkauf|ek|angebot|unit|per|achat|barre|anterior"
              "|id|currency|range|min|max|tier|group|date|from|type|off|count|cent|minor|micro|pence"),
    "image": ("image|imgurl|picture|photo|bild|imagen|immagine|afbeelding", "alt|title|count|pos|width|height|id$"),
    "category_path": ("categorypath|categorytext|categorytree|taxonomy|kategoriepfad|breadcrumb|categorie|kategorie",
                      "id|count|url|code"),
    "available": ("availab|verfugbar|disponib|voorraad|bestand|stock|onhand",
                  "date|from|until|day|tage|text|id|code|no$|number|keep|min|max|low|safety|threshold|over"),
}  # fmt: skip
# Where no column of text is there, one of numbers will do: it says something all the same.
LENIENT = ("category_path", "brand", "title", "description", "query")
# Of the columns that tell whether an item is available: whether it is shown at all, in stock or not.
SHOWN = (
    "is_active", "active", "enabled", "published", "visible", "is_visible", "status", "aktiv", "veroffentlicht",
    "publie", "statut", "estado", "product_visible", "is_published",
)  # fmt: skip
# Common names of other things: without a value that fits they are left alone.
WEAK = ("type",)


@dataclass(frozen=True)
class Guess:
    """What columns are read from, and what should be known of how that was found."""

    mapping: dict[str, tuple[Origin, ...]] = field(default_factory=dict)  # canonical to sources
    reasons: dict[str, str] = field(default_factory=dict)  # canonical to why, in words
    notes: tuple[str, ...] = ()


def plain(name: str) -> str:
    """A column's name as it is compared: no case, blanks, accents, punctuation, type or parentheses."""
    bare = re.sub(r"\(.*?\)", "", RECBOLE.sub("", name.strip()))
    folded = unicodedata.normalize("NFKD", bare.lower().replace("ß", "ss"))
    return re.sub(r"[\W_]", "", folded) or name


def guess_mapping(
    frame: pl.DataFrame,
    kind: Kind,
    item_ids: pl.Series | None = None,
    *,
    taken: Collection[str] = (),
    given: Collection[str] = (),
) -> Guess:
    """What the names and values of a table suggest, but for `taken` columns and canonical names that are `given`.

    Ids of events are read from the column whose values are among `item_ids` most.
    """
    free = {plain(column): column for column in reversed(frame.columns) if column not in taken}
    exact = {name: free.pop(plain(name)) for name in SCHEMAS[kind] if plain(name) in free}
    found, reasons, notes = dict[str, tuple[Origin, ...]](), dict[str, str](), list[str]()
    for name in SCHEMAS[kind]:
        if name in given:
            continue
        synonyms = dict.fromkeys(map(plain, SYNONYMS[kind].get(name, ())))
        own = exact.get(name)
        options = [*([] if own is None else [own]), *(free[synonym] for synonym in synonyms if synonym in free)]
        choice = _choose(frame, kind, name, options, own)
        by_part = not options and kind == "items"
        if by_part:
            choice = _by_part(frame, name, free, notes)
            options = [] if choice is None else [choice]
        elif name == "available" and (further := _by_part(frame, name, free, [])) not in (None, *options):
            # A stock beside what says whether the item is shown.
            options = [*options, str(further)]
        if name == "item_id" and kind == "events" and item_ids is not None:
            choice = _matching(frame, options, item_ids, choice, notes)
        by_values = kind == "events" and name == "timestamp" and choice is None and not options
        if by_values:
            choice = _only_times(frame, free.values(), notes)
            options = [] if choice is None else [choice]
        for option in [] if name in LENIENT else options[: options.index(choice)] if choice else options:
            if not is_empty(frame[option]) and not _fits(name, frame[option]):
                shown = str(parsing.text(sample(frame[option]))[0])[:40]
                notes.append(f"column {option} is not read as {name}, as values such as {shown!r} are none")
        if choice is None:
            continue
        notes += _alike(frame, name, choice, taken)
        reasons[name] = "by a part of its name" if by_part else f"by {'its' if choice == own else 'a common'} name"
        reasons[name] += " and its values" if choice != options[0] else ""
        if by_values:
            reasons[name] = "by its values, as no other column holds times"
        found[name] = (Origin(choice),)
        if name == "available" and choice != own:
            found[name] = _buyable(frame, choice, options)
        if name == "user_id" and kind == "events":
            found[name] = _completed(frame, choice, [option for option in options if option != choice], notes)
        used = {origin.column for origin in found[name]}
        free = {key: column for key, column in free.items() if column not in used}
    return Guess(found, reasons, tuple(notes))


def _alike(frame: pl.DataFrame, name: str, choice: str, taken: Collection[str]) -> list[str]:
    """That other columns are plainly called the same, such as prices with and without tax."""
    others = [own for own in frame.columns if plain(own) == plain(choice) and own != choice and own not in taken]
    others = [own for own in others if not is_empty(frame[own])]
    return [f"{name} is read from {choice}; {' and '.join(others)} may be it as well"] if others else []


def _choose(frame: pl.DataFrame, kind: Kind, name: str, options: Sequence[str], own: str | None) -> str | None:
    """The first column whose values fit; else its own name, what is needed, or what says something all the same."""
    filled = [column for column in options if not is_empty(frame[column])]
    fitting = [column for column in filled if _fits(name, frame[column])]
    if fitting or own in filled:
        return fitting[0] if fitting else own
    if filled and (name in REQUIRED[kind] or name in LENIENT):
        return filled[0]
    if name == "event_type":
        # Words that nobody knows are told one by one; to take every such event for a view would be silent.
        return next((column for column in filled if plain(column) not in WEAK), None)
    # A column without values does no harm.
    return options[0] if options and not filled else None


def _by_part(frame: pl.DataFrame, name: str, free: Mapping[str, str], notes: list[str]) -> str | None:
    """The one column whose name holds a word for it and whose values fit; several are named and none is taken."""
    part, other = PARTS.get(name, ("", ""))
    found = [
        column
        for key, column in free.items()
        if part and re.search(part, key) and not re.search(other, re.sub(part, " ", key))
        if not is_empty(frame[column]) and _fits(name, frame[column])
    ]
    found.sort(key=frame.columns.index)
    if len(found) > 1:
        notes.append(
            f"{name} may be in {' or '.join(found)}; say {as_option('--map', name, found[0])} to read one of them"
        )
    return found[0] if len(found) == 1 else None


def _only_times(frame: pl.DataFrame, columns: Iterable[str], notes: list[str]) -> str | None:
    """The one column of written times, whatever it is called; several are named and none is taken."""
    found = [column for column in frame.columns if column in set(columns) and _are_written_times(frame[column])]
    if len(found) > 1:
        option = as_option("--event-map", "timestamp", found[0])
        notes.append(f"times may be in {' or '.join(found)}; say {option} to read one of them")
    return found[0] if len(found) == 1 else None


def _are_written_times(column: pl.Series) -> bool:
    """Whether all values are times as people write them: numbers may count anything."""
    values = sample(column)
    if not len(values) or not (values.dtype == pl.String or values.dtype.is_temporal()):
        return False
    written = values.dtype != pl.String or bool(values.str.contains(r"\d[-/.:]\d").all())
    return written and FITS["created_at"](values)


def _fits(name: str, column: pl.Series) -> bool:
    return FITS[name](sample(column)) if name in FITS else True


def _matching(
    frame: pl.DataFrame, options: Sequence[str], item_ids: pl.Series, first: str | None, notes: list[str]
) -> str | None:
    """The column whose ids are in the catalog most; `first` where none is better."""
    if first is None or len(options) < 2:
        return first
    known = parsing.identifiers(item_ids)
    shares = {column: share_known(frame[column], known) for column in options}
    best = max(shares, key=lambda column: (shares[column], column == first))
    if best == first:
        return first
    there = f"{shares[best]:.0%} of its ids are in the catalog ({first}: {shares[first]:.0%})"
    notes.append(f"item_id is read from {best}, as {there}")
    return best


def share_known(column: pl.Series, known: pl.Series) -> float:
    """Share of a column's values, or of a sample of them, that are among `known` ids."""
    ids = parsing.identifiers(spread(column, MATCHED)).drop_nulls()
    return float(ids.is_in(known.implode()).mean() or 0.0) if len(ids) else 0.0  # type: ignore[arg-type]


def _buyable(frame: pl.DataFrame, choice: str, options: Sequence[str]) -> tuple[Origin, ...]:
    """Whether an item can be bought and, where another column tells, whether it is shown."""
    shown = [column for column in options if plain(column) in map(plain, SHOWN)]
    other = [column for column in options if column not in shown] if choice in shown else shown
    second = next((own for own in other if not is_empty(frame[own]) and _fits("available", frame[own])), None)
    # A stock of pieces is available where it is above zero. What says whether an item is shown counts nothing: -1 is
    # no, but 2 may be any code.
    stocks = [own for own in (choice, second) if own and _is_stock(sample(frame[own]))]
    signs = [own for own in stocks if own not in shown or not (parsing.numbers(frame[own])[0] > 1).any()]
    forms = {own: ("positive",) if own in signs else () for own in (choice, second) if own}
    return tuple(Origin(own, form, ALL) for own, form in forms.items())


def _completed(frame: pl.DataFrame, column: str, others: Iterable[str], notes: list[str]) -> tuple[Origin, ...]:
    """Users that a column lacks from another one that has them all."""
    others = list(others)
    # Reading every id takes a while: not where there is nothing to find.
    given = frame[column]
    if not others or not (given.null_count() or (given.dtype == pl.String and _lacks_some(given))):
        return (Origin(column),)
    ids = parsing.identifiers(given)
    nobody = is_nobody(ids)
    missing = ids.is_null() | nobody
    empty = int(missing.sum())
    for other in others if empty else ():
        if parsing.identifiers(frame[other].filter(missing)).is_not_null().sum() >= FULL * empty:
            what = f"names nobody ({ids.filter(nobody)[0]})" if nobody.any() else "is empty"
            notes.append(f"{column} {what} in {empty} of {frame.height} rows; these take their user from {other}")
            return Origin(column, ("known",) if nobody.any() else ()), Origin(other)
    return (Origin(column),)


def _lacks_some(users: pl.Series) -> bool:
    stripped = users.str.strip_chars()
    return bool(((stripped == "") | is_nobody(stripped)).any())


def spread(column: pl.Series, rows: int) -> pl.Series:
    """At most about so many values from all over a column."""
    let_go()
    return column.gather_every(max(1, len(column) // rows))


def sample(column: pl.Series) -> pl.Series:
    """Some of a column's values as they are, without those that are missing."""
    some = _filled(spread(column, SAMPLE))
    return some if len(some) or len(column) <= SAMPLE else _filled(column).head(SAMPLE)


def is_empty(column: pl.Series) -> bool:
    """Whether a column holds no value at all."""
    return column.null_count() == len(column) or not len(sample(column))


def _filled(column: pl.Series) -> pl.Series:
    return column.filter(parsing.text(column).is_not_null())


# ---- what values can be ----


def _mostly(mask: pl.Series, part: float = 0.5) -> bool:
    return float(mask.fill_null(False).mean() or 0.0) >= part  # type: ignore[arg-type]


def _is_text(values: pl.Series) -> bool:
    return _mostly(parsing.text(values).str.contains(r"\pL"))


def _is_number(values: pl.Series) -> bool:
    if values.dtype.is_temporal() or values.dtype == pl.Boolean:
        return False
    return _mostly(parsing.numbers(values)[0].is_not_null())


def _is_time(values: pl.Series) -> bool:
    moments = parsing.timestamps(values)
    # Times in doubt are times: which ones is for the reader to ask.
    return moments.doubt is not None or bool(moments.values.is_not_null().any())


def _is_moment(values: pl.Series) -> bool:
    moments = parsing.timestamps(values)
    return moments.doubt is not None or (moments.kind != "order" and _mostly(moments.values.is_not_null()))


def _is_currency(values: pl.Series) -> bool:
    return _mostly(parsing.text(values).str.contains(r"^([A-Za-z]{3}|\p{Sc}|[A-Za-z]{1,3}\p{Sc})$"))


def _is_picture(values: pl.Series) -> bool:
    return isinstance(values.dtype, pl.List | pl.Struct) or _mostly(parsing.text(values).str.contains(r"[./\[]"))


def _is_stock(values: pl.Series) -> bool:
    """Numbers of which some are neither 0 nor 1: pieces, not an answer."""
    if not _is_number(values):
        return False
    numbers = parsing.numbers(values)[0].drop_nulls()
    return len(numbers) == len(values) and not numbers.is_in([0.0, 1.0]).all()


def _is_availability(values: pl.Series) -> bool:
    return _is_stock(values) or _mostly(~parsing.booleans(values)[1])


def _is_event_type(values: pl.Series) -> bool:
    return bool(EventWords({}).types(parsing.text(values)).is_not_null().any())


FITS: dict[str, Callable[[pl.Series], bool]] = {
    "title": _is_text,
    "brand": _is_text,
    "category_path": _is_text,
    "price": _is_number,
    "cost": _is_number,
    "value": _is_number,
    "quantity": _is_number,
    "position": _is_number,
    "currency": _is_currency,
    "image": _is_picture,
    "available": _is_availability,
    "created_at": _is_moment,
    "timestamp": _is_time,
    "event_type": _is_event_type,
}
