"""Words for yes and no: whether an item can be bought, in the words of feeds, shop systems and a few languages."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from .nested import flat_state
from .texts import texts

# Without case, blanks and punctuation. What can be ordered counts as available, also where it is sent later.
_TRUE = (
    "true t yes y on ja oui si sí sim instock available availableforsale forsale active enabled enable published "
    "publish visible live online onsale buyable salable saleable purchasable preorder preordered presale "
    "availableforpreorder backorder backordered onbackorder availableonbackorder availablefororder availabletoorder "
    "availableforbackorder onorder madetoorder limited limitedavailability limitedstock lowstock lowinstock fewleft "
    "onlyfewleft instoreonly onlineonly instoreandonline verfügbar lieferbar auflager sofortlieferbar sofortverfügbar "
    "vorrätig bestellbar vorbestellbar aktiv enstock disponible disponibles enexistencia dansstock endisponibilité "
    "disponibile opvoorraad leverbaar nalager naskladě skladem dostępny wahr vrai verdadero vero waar prawda activo "
    "actif attivo actief aktywny publicado publié pubblicato gepubliceerd veröffentlicht versandfertig "
    "sofortversandfertig surcommande hayexistencias conexistencias bajopedido emestoque disponível ilager finnsilager "
    "pålager varastossa wmagazynie stoktavar mevcut вналичии естьвналичии 在庫あり あり 有货 有貨 재고있음 j unlimited "
    "unbegrenzt ordinabile"
)
_FALSE = (
    "false f no n off nein non nee outofstock outstock notinstock nostock nonestock soldout sold unavailable "
    "notavailable notforsale discontinued endoflife eol obsolete retired archived archive draft inactive notactive "
    "disabled disable hidden notvisible unpublished notpublished private pending trash deleted removed suspended "
    "expired offline comingsoon outofseason nichtverfügbar nichtlieferbar nichtauflager nichtvorrätig ausverkauft "
    "vergriffen inaktiv deaktiviert rupturedestock enrupture enrupturedestock indisponible épuisé epuisé agotado "
    "agotada nodisponible sinstock sinexistencias esaurito nondisponibile nietopvoorraad uitverkocht falsch faux "
    "falso onwaar fałsz inactivo inactif inattivo inactief nieaktywny entwurf borrador brouillon bozza "
    "derzeitnichtverfügbar momentannichtverfügbar derzeitnichtlieferbar momentannichtlieferbar nichtmehrlieferbar "
    "nichtmehrverfügbar zurzeitnichtverfügbar auslaufartikel stocképuisé plusdisponible nondisponible horsstock "
    "fueradestock descatalogado nohayexistencias nonpiùdisponibile esgotado indisponível foradeestoque semestoque "
    "nietbeschikbaar nietleverbaar slutsåld slutilager ejilager utsolgt udsolgt ikkepålager loppu loppunut "
    "loppuunmyyty brakwmagazynie niedostępny brak wyprzedany vyprodáno nenískladem nedostupné tükendi stoktayok "
    "нетвналичии распродано 在庫なし 在庫切れ 売り切れ 品切れ なし 缺货 缺貨 售罄 품절 oos rupture "
    "tijdelijkuitverkocht tijdelijknietopvoorraad tijdelijknietleverbaar inarrivo reserved future"
)
# Pieces and a word for them: `5 in stock`, `nur noch 2 auf Lager`, without blanks.
COUNTED = r"^(?:nurnoch|only|plusque|noch|stillonly)?(?<pieces>\d+)(?:stk|stück|pcs|left)?(?<word>\pL+)$"
TRUE_WORDS, FALSE_WORDS = _TRUE.split(), _FALSE.split()


class Truths(NamedTuple):
    """A column of yes and no."""

    values: pl.Series
    bad: pl.Series  # rows that held a word that nobody knows


def booleans(column: pl.Series, counts: bool = False) -> Truths:
    """Truth values from booleans, 0 and 1, or words; where numbers are `counts` of pieces, any above 0 is true."""
    if column.dtype == pl.Boolean:
        return Truths(column, column.is_null() & False)
    strings, shapeless, *_ = texts(column, flatten=flat_state)
    numbers = _pieces(strings)
    # Beyond 2 numbers are pieces in stock, whatever the column is called; 2 alone may be any code.
    counts = counts or bool((numbers > 2).any())
    yes = (numbers > 0 if counts else numbers == 1).fill_null(False)
    no = (numbers <= 0).fill_null(False)
    words = strings.str.to_lowercase().str.replace(r"^(?:.*schema\.org/|schema:)", "")
    words = words.str.replace_all(r"[^\pL\pN]+", "")
    # `5 in stock` is a number of pieces with what it counts.
    counted = words.str.extract_groups(COUNTED).struct.unnest()
    words = counted["word"].zip_with((counted["pieces"].cast(pl.Float64) > 0).fill_null(False), words)
    words = words.set((counted["pieces"].cast(pl.Float64) == 0).fill_null(False), FALSE_WORDS[0])
    yes = yes | (words.is_in(TRUE_WORDS) & numbers.is_null()).fill_null(False)
    no = no | (words.is_in(FALSE_WORDS) & numbers.is_null()).fill_null(False)
    values = yes.set(~(yes | no), None)
    return Truths(values, shapeless | (values.is_null() & strings.is_not_null()))


def _pieces(strings: pl.Series) -> pl.Series:
    """Numbers, of pieces also as `10+`, `>50` or `1,000`."""
    bare = strings.str.replace(r"^[<>≥≤~]?=?\s*([\d.,]*\d)\s*\+?$", "$1")
    return bare.str.replace_all(r"^(\d{1,3})[,.](\d{3})$", "$1$2").cast(pl.Float64, strict=False)
