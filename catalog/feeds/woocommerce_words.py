"""What WooCommerce's exporter calls its columns where the shop's language is not English; what is in them stays."""

from __future__ import annotations

import re

from .fields import Fields

# English name to those in German, French, Spanish, Italian and Dutch, as plain names.
HEADERS: dict[str, tuple[str, ...]] = {
    "type": ("typ", "tipo"),
    "sku": ("artikelnummer", "artikelnummer sku", "art nr", "ugs", "référence", "cod"),
    "name": ("nom", "nombre", "nome", "naam"),
    "published": ("veröffentlicht", "publié", "publicado", "pubblicato", "gepubliceerd"),
    "visibility in catalog": ("sichtbarkeit im katalog", "katalogsichtbarkeit", "visibilité dans le catalogue",
                              "visibilidad en el catálogo", "visibilità nel catalogo", "zichtbaarheid in catalogus"),
    "short description": ("kurzbeschreibung", "description courte", "descripción corta", "breve descrizione",
                          "korte beschrijving"),
    "description": ("beschreibung", "descripción", "descrizione", "beschrijving"),
    "date sale price starts": ("datum an dem angebotspreis beginnt", "datum an dem der angebotspreis beginnt",
                               "date de début de promo", "día en que empieza el precio rebajado",
                               "data di inizio del prezzo scontato", "startdatum actieprijs"),
    "date sale price ends": ("datum an dem angebotspreis endet", "datum an dem der angebotspreis endet",
                             "date de fin de promo", "día en que termina el precio rebajado",
                             "data di fine del prezzo scontato", "einddatum actieprijs"),
    "in stock": ("vorrätig", "en inventaire", "en inventario", "hay existencias", "disponibile", "op voorraad"),
    "sale price": ("angebotspreis", "tarif promo", "precio rebajado", "prezzo in offerta", "actieprijs"),
    "regular price": ("regulärer preis", "tarif régulier", "precio normal", "prezzo di listino", "reguliere prijs",
                      "normale prijs"),
    "categories": ("kategorien", "catégories", "categorías", "categorie", "categorieën"),
    "images": ("bilder", "imágenes", "immagini", "afbeeldingen"),
    "parent": ("übergeordnet", "übergeordnetes produkt", "superior", "principal", "genitore", "hoofd"),
    "brands": ("marken", "marques", "marcas", "marchi", "brand", "merken"),
}  # fmt: skip
ATTRIBUTES = (
    (r"(?:attribut (\d+) name|nom de l attribut (\d+)|nombre del atributo (\d+)|nome dell attributo (\d+)"
     r"|naam eigenschap (\d+))", "attribute {} name"),
    (r"(?:attribut (\d+) werte?(?: e)?|valeur(?: s)? de l attribut (\d+)|valor(?: es)? del atributo (\d+)"
     r"|valore?(?: i)? dell attributo (\d+)|waarde(?: n)? eigenschap (\d+))", "attribute {} value s"),
)  # fmt: skip
# Whether an attribute is shown and the like.
ABOUT_ATTRIBUTES = r".*\b(?:attribut|atributo|attributo|eigenschap) \d+\b.*"


def name_in_english(fields: Fields) -> None:
    """Let columns be found by their English names as well."""
    names = fields.names
    for english, others in HEADERS.items():
        found = next((names[other] for other in others if other in names), None)
        if found is not None:
            names.setdefault(english, found)
    for pattern, english in ATTRIBUTES:
        for name in list(names):
            match = re.fullmatch(pattern, name)
            if match:
                number = next(filter(None, match.groups()))
                names.setdefault(english.format(number), names[name])
