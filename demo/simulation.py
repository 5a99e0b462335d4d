"""A small simulated marketplace: products drawn from attributes, templated text, sessions of shoppers with tastes.

Colour, pattern and silhouette are only in the picture; material, style, room and brand are only in the text. Shoppers
choose by both, so a recommender that reads one modality loses real signal. The same settings give the same files.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from PIL import Image, ImageDraw, ImageFilter
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from ..arrays import DoubleArray
from ..errors import NotFoundError

Colour = tuple[int, int, int]
Attributes = dict[str, str]
Products = dict[str, Attributes]  # by item id
CategoryName = Literal["lamps", "mugs", "rugs"]
Form = tuple[str, tuple[float, ...]]

VISUAL = ("colour", "pattern", "silhouette")
TEXTUAL = ("material", "style", "room", "brand")


@dataclass(frozen=True)
class Silhouette:
    """Forms that carry colour and pattern, and plain forms drawn behind them; each a kind and unit coordinates, y down.

    Kinds are ellipse, ring, polygon, and rounded: a rectangle whose last number is its radius.
    """

    body: tuple[Form, ...]
    trim: tuple[Form, ...] = ()


@dataclass(frozen=True)
class CategoryKind:
    """What is particular to a drawable category; colours, patterns, styles, rooms and brands are shared."""

    noun: str
    materials: tuple[str, ...]
    silhouettes: dict[str, Silhouette]


COLOURS: dict[str, Colour] = {
    "red": (205, 45, 50),
    "orange": (238, 132, 40),
    "yellow": (245, 206, 66),
    "green": (62, 140, 80),
    "turquoise": (64, 184, 190),
    "blue": (42, 86, 176),
    "purple": (128, 72, 160),
    "pink": (240, 150, 186),
    "black": (56, 58, 64),
}
PATTERNS = ("plain", "striped", "dotted", "checked", "zigzag")
STYLES = ("Scandinavian", "industrial", "vintage", "bohemian", "art deco", "Japanese")
ROOMS = ("bedroom", "home office", "nursery", "dining room", "terrace")
BRANDS = ("Nordvik", "Casa Lumo", "Fernhill", "Tindra", "Maison Vey", "Urban Forge")

_STAND: tuple[Form, ...] = (
    ("polygon", (0.485, 0.4, 0.515, 0.4, 0.515, 0.9, 0.485, 0.9)),
    ("ellipse", (0.32, 0.85, 0.68, 0.95)),
)
_DOME = tuple(
    coordinate
    for angle in np.linspace(np.pi, 2 * np.pi, 40)
    for coordinate in (0.5 + 0.4 * np.cos(angle), 0.54 + 0.44 * np.sin(angle))
)


def _fringe(xs: Iterable[float], ys: Sequence[float], width: float, height: float) -> tuple[Form, ...]:
    return tuple(("polygon", (x, y, x + width, y, x + width, y + height, x, y + height)) for x in xs for y in ys)


KINDS: dict[str, CategoryKind] = {
    "lamps": CategoryKind(
        "lamp",
        ("brass", "oak", "linen", "concrete", "rattan", "glass"),
        {
            "dome": Silhouette((("polygon", _DOME),), _STAND),
            "cone": Silhouette((("polygon", (0.42, 0.06, 0.58, 0.06, 0.9, 0.56, 0.1, 0.56)),), _STAND),
            "globe": Silhouette((("ellipse", (0.2, 0.05, 0.8, 0.65)),), _STAND),
            "drum": Silhouette((("polygon", (0.2, 0.1, 0.8, 0.1, 0.8, 0.54, 0.2, 0.54)),), _STAND),
        },
    ),
    "mugs": CategoryKind(
        "mug",
        ("stoneware", "porcelain", "enamel", "bamboo", "steel", "borosilicate glass"),
        {  # each with its handle
            "straight": Silhouette(
                (("rounded", (0.14, 0.2, 0.68, 0.86, 0.05)),), (("ring", (0.52, 0.33, 0.92, 0.73)),)
            ),
            "tapered": Silhouette(
                (("polygon", (0.06, 0.22, 0.76, 0.22, 0.58, 0.86, 0.24, 0.86)),), (("ring", (0.5, 0.26, 0.94, 0.62)),)
            ),
            "belly": Silhouette(
                (("ellipse", (0.08, 0.22, 0.74, 0.88)), ("rounded", (0.2, 0.14, 0.62, 0.4, 0.02))),
                (("ring", (0.55, 0.36, 0.96, 0.74)),),
            ),
            "slim": Silhouette((("rounded", (0.26, 0.04, 0.6, 0.94, 0.05)),), (("ring", (0.44, 0.25, 0.86, 0.75)),)),
        },
    ),
    "rugs": CategoryKind(
        "rug",
        ("wool", "jute", "cotton", "silk", "sisal", "recycled yarn"),
        {
            "oblong": Silhouette(
                (("rounded", (0.08, 0.24, 0.92, 0.76, 0.01)),),
                _fringe((0.02, 0.91), np.linspace(0.25, 0.732, 12).tolist(), 0.07, 0.018),
            ),
            "disc": Silhouette((("ellipse", (0.08, 0.08, 0.92, 0.92)),)),
            "oval": Silhouette((("ellipse", (0.02, 0.27, 0.98, 0.73)),)),
            "runner": Silhouette(
                (("rounded", (0.31, 0.05, 0.69, 0.95, 0.01)),),
                _fringe(np.linspace(0.315, 0.667, 9).tolist(), (0.0, 0.94), 0.018, 0.06),
            ),
        },
    ),
}

_TITLES = (
    "{brand} {style} {material} {noun}",
    "{style} {noun} in {material}, {brand}",
    "{material} {noun}, {style}, by {brand}",
)
_DESCRIPTIONS = (
    "A {style} piece made of {material} for the {room}. {extra}",
    "{brand} designed this {noun} for the {room}: {material}, {style} in character. {extra}",
    "For a {style} {room}. Crafted from {material} by {brand}. {extra}",
)
_EXTRAS = (
    "Ships in recyclable packaging.",
    "Easy to care for and built to last.",
    "Delivered within three working days.",
    "A present that people keep.",
    "Inspected by hand before it leaves the workshop.",
)


class MarketplaceSettings(BaseModel):
    """Size and temper of the simulated marketplace; all shoppers visit every category, with one taste in all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    categories: tuple[CategoryName, ...] = ("lamps", "mugs", "rugs")
    items_per_category: int = Field(default=240, ge=12)
    users: int = Field(default=500, ge=1)
    events_per_user: tuple[int, int] = (8, 14)  # fewest and most of a shopper in one category
    image_size: int = Field(default=96, ge=16, le=1024)  # edge of the square pictures in pixels
    weeks: int = Field(default=8, ge=2)
    start: AwareDatetime = datetime(2024, 3, 4, tzinfo=UTC)
    late_share: float = Field(default=0.1, ge=0, lt=1)  # of products arrive in the last quarter, so that some stay cold
    # What weighs in the choice of the next product: the shopper's lasting taste, its likeness to the product before it
    # in the session, and its own popularity (a power law over ranks).
    taste: float = Field(default=1.8, ge=0)
    closeness: float = Field(default=1.8, ge=0)
    popularity: float = Field(default=0.5, ge=0)
    seed: int = Field(default=7, ge=0)

    @field_validator("events_per_user")
    @classmethod
    def _enough_events(cls, bounds: tuple[int, int]) -> tuple[int, int]:
        if not 3 <= bounds[0] <= bounds[1]:
            raise ValueError(f"{bounds} must hold 3 <= fewest <= most; a session has at least 3 events.")
        return bounds


@dataclass(frozen=True)
class CategoryFiles:
    """Where one simulated category lies; `truth` holds the attributes and is for tests only, never for the product."""

    name: str
    items: Path
    events: Path
    images: Path
    truth: Path


def simulate_marketplace(settings: MarketplaceSettings, directory: Path) -> dict[str, CategoryFiles]:
    """Write every category of the settings to its own folder below `directory`."""
    return {name: simulate_category(name, settings, directory / name) for name in settings.categories}


def simulate_category(name: str, settings: MarketplaceSettings, directory: Path) -> CategoryFiles:
    """Write `items.csv`, `events.csv`, `images/*.png` and `truth.json` of one category."""
    if name not in KINDS:
        raise NotFoundError(f"Category {name!r} cannot be drawn; choose one of {', '.join(KINDS)}.")
    files = CategoryFiles(
        name, directory / "items.csv", directory / "events.csv", directory / "images", directory / "truth.json"
    )
    files.images.mkdir(parents=True, exist_ok=True)
    # A checksum, as Python's own hash of a text differs from process to process.
    rng = np.random.default_rng([settings.seed, zlib.crc32(name.encode())])
    n_items, days, values = settings.items_per_category, settings.weeks * 7, attribute_values(name).items()
    late = rng.random(n_items) < settings.late_share
    products = {
        f"{name}-{row:04d}": {a: choices[rng.integers(len(choices))] for a, choices in values} for row in range(n_items)
    }
    # Most products are there on the first day, some come in the last quarter of the time: (N,) day of arrival.
    arrivals = np.where(late, rng.uniform(0.75 * days, days - 1, n_items), 0.0)
    _items_table(name, products, arrivals, settings, rng).write_csv(files.items)
    for item_id, product in products.items():
        draw_product(name, product, settings.image_size, rng).save(files.images / f"{item_id}.png")
    _events_table(name, products, arrivals, settings, rng).write_csv(files.events)
    truth = {"visual": VISUAL, "textual": TEXTUAL, "items": products}
    files.truth.write_text(json.dumps(truth, indent=1), encoding="utf-8")
    return files


def attribute_values(name: str) -> dict[str, tuple[str, ...]]:
    """Every value that each attribute can take in a category."""
    kind = KINDS[name]
    return {
        "colour": tuple(COLOURS),
        "pattern": PATTERNS,
        "silhouette": tuple(kind.silhouettes),
        "material": kind.materials,
        "style": STYLES,
        "room": ROOMS,
        "brand": BRANDS,
    }


def _items_table(
    name: str, products: Products, arrivals: DoubleArray, settings: MarketplaceSettings, rng: np.random.Generator
) -> pl.DataFrame:
    """The catalog; title and description name the textual attributes and none of the visual ones."""
    titles, descriptions = [], []
    for product in products.values():
        words = {attribute: product[attribute] for attribute in TEXTUAL} | {"noun": KINDS[name].noun}
        title = _TITLES[rng.integers(len(_TITLES))].format(**words)
        titles.append(title[0].upper() + title[1:])
        extra = _EXTRAS[rng.integers(len(_EXTRAS))]
        descriptions.append(_DESCRIPTIONS[rng.integers(len(_DESCRIPTIONS))].format(extra=extra, **words))
    return pl.DataFrame(
        {
            "item_id": list(products),
            "title": titles,
            "description": descriptions,
            "brand": [product["brand"] for product in products.values()],
            "category_path": [f"home > {name}"] * len(products),
            "price": np.round(rng.lognormal(3.4, 0.5, len(products)), 2),
            "image": [f"images/{item_id}.png" for item_id in products],
            "created_at": [_iso(settings.start + timedelta(days=float(day))) for day in arrivals],
        }
    )


_OVERSAMPLING = 3  # drawn larger and shrunk, which smooths the edges
_TRIM: Colour = (120, 104, 92)
_BACKGROUNDS: tuple[Colour, ...] = ((246, 244, 240), (240, 243, 246), (247, 247, 247), (243, 246, 240))


def draw_product(name: str, product: Attributes, size: int, rng: np.random.Generator) -> Image.Image:
    """An RGB picture of (size, size) pixels that shows the visual attributes and nothing of the textual ones.

    Place, scale, light and background vary a little from picture to picture, as photographs do.
    """
    edge = size * _OVERSAMPLING
    scale, shift = edge * rng.uniform(0.8, 0.9), edge * (0.07 + rng.uniform(-0.02, 0.02, size=2))
    silhouette = KINDS[name].silhouettes[product["silhouette"]]
    colour = COLOURS[product["colour"]]
    picture = Image.new("RGB", (edge, edge), _BACKGROUNDS[rng.integers(len(_BACKGROUNDS))])
    trim = _stencil(silhouette.trim, edge, scale, shift)
    body = _stencil(silhouette.body, edge, scale, shift)
    picture.paste(_shade(colour, 0.62) if name != "lamps" else _TRIM, mask=trim)
    # An outline, or a cream pattern would melt into the background.
    picture.paste(_shade(colour, 0.62), mask=body.filter(ImageFilter.MaxFilter(5)))
    picture.paste(_fabric(product["pattern"], colour, edge, rng), mask=body)
    return picture.resize((size, size), Image.Resampling.LANCZOS)


def _stencil(forms: tuple[Form, ...], edge: int, scale: float, shift: DoubleArray) -> Image.Image:
    mask = Image.new("L", (edge, edge), 0)
    pen = ImageDraw.Draw(mask)
    for kind, numbers in forms:
        n_points = len(numbers) // 2
        points = [(float(x), float(y)) for x, y in np.array(numbers[: 2 * n_points]).reshape(-1, 2) * scale + shift]
        if kind == "polygon":
            pen.polygon(points, fill=255)
        elif kind == "ellipse":
            pen.ellipse(points, fill=255)
        elif kind == "ring":
            pen.ellipse(points, outline=255, width=round(0.075 * scale))
        else:
            pen.rounded_rectangle(points, radius=numbers[-1] * scale, fill=255)
    return mask


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, round(channel * factor)) for channel in colour)
    return red, green, blue


def _fabric(pattern: str, colour: Colour, edge: int, rng: np.random.Generator) -> Image.Image:
    """The pattern over the whole picture, lit from one side; a stencil cuts the product out of it."""
    ticks = np.arange(edge) / edge * 8
    x, y = ticks[None, :] + 8 * rng.random(), ticks[:, None] + 8 * rng.random()
    across, down = x % 1, y % 1
    marks = {
        "plain": np.zeros((edge, edge), dtype=np.bool_),
        "striped": np.broadcast_to(across < 0.42, (edge, edge)),
        "dotted": (across - 0.5) ** 2 + (down - 0.5) ** 2 < 0.085,
        "checked": (across < 0.5) ^ (down < 0.5),
        "zigzag": (y + 1.1 * np.abs((x / 1.6) % 1 - 0.5)) % 1 < 0.4,
    }[pattern]
    # Drawn in cream on dark colours, in a deep shade of the colour itself on light ones.
    light = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 165
    fabric = Image.new("RGB", (edge, edge), colour)
    fabric.paste(_shade(colour, 0.42) if light else (252, 246, 232), mask=Image.fromarray(marks.astype(np.uint8) * 255))
    ramp = np.linspace(1.06, 0.86, edge)[:: rng.choice([-1, 1])]
    brightness = (ramp * rng.uniform(0.96, 1.04)).astype(np.float32)  # (S,)
    pixels = np.asarray(fabric) * brightness[None, :, None]  # (S, S, 3)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def one_hot(
    products: Sequence[Attributes], attributes: Sequence[str], values: dict[str, tuple[str, ...]]
) -> DoubleArray:
    """(N, V) one column per value of the attributes, 1 where the product has it."""
    return np.array(
        [[float(product[a] == value) for a in attributes for value in values[a]] for product in products],
        dtype=np.float64,
    )


def _utilities(
    name: str, products: Sequence[Attributes], settings: MarketplaceSettings
) -> tuple[DoubleArray, DoubleArray]:
    """(users, N) lasting liking and (N, N) likeness of products; picture and text weigh the same in both."""
    values = attribute_values(name)
    liking, likeness = np.zeros((settings.users, len(products))), np.zeros((len(products), len(products)))
    for group in (VISUAL, TEXTUAL):
        features = one_hot(products, group, values)  # (N, V)
        tastes = []
        for attribute in group:
            # A taste is drawn from the attribute's name alone, so that whoever loves blue lamps loves blue mugs; from
            # the category's too where the values of the attribute are the category's own.
            scope = name if attribute in ("silhouette", "material") else ""
            rng = np.random.default_rng([settings.seed, zlib.crc32(f"{scope}{attribute}".encode())])
            order = np.argsort(rng.random((settings.users, len(values[attribute]))), axis=1)
            # 1 for a shopper's favourite value, a half for the next.
            tastes.append(np.where(order == 0, 1.0, np.where(order == 1, 0.5, 0.0)))
        liking += np.hstack(tastes) @ features.T * np.sqrt(3 / len(group))
        likeness += features @ features.T * np.sqrt(3 / len(group))
    return liking, likeness


def _events_table(
    name: str, products: Products, arrivals: DoubleArray, settings: MarketplaceSettings, rng: np.random.Generator
) -> pl.DataFrame:
    """Sessions of every shopper: views and clicks some minutes apart, the last product often carted or bought."""
    ids = list(products)
    liking, likeness = _utilities(name, list(products.values()), settings)
    ranks = rng.permutation(len(ids)) + 1
    base = settings.taste * liking - settings.popularity * np.log(ranks)  # (users, N)
    closeness = settings.closeness * likeness  # (N, N)
    rows = []
    for user in range(settings.users):
        for day, length in _visits(settings, rng):
            there = np.where(arrivals <= day, base[user], -np.inf)
            chosen: list[int] = []
            # Each product is drawn by utility plus likeness to the one before it, and none comes twice. Adding Gumbel
            # noise and taking the best is a draw from the softmax over the products.
            for _ in range(min(length, int(np.isfinite(there).sum()))):
                logits = there + closeness[chosen[-1]] if chosen else there
                chosen.append(int(np.argmax(logits + rng.gumbel(size=len(logits)))))
                there[chosen[-1]] = -np.inf
            seconds = np.cumsum(rng.integers(20, 360, size=len(chosen)))
            types = [*rng.choice(["view", "click"], size=len(chosen) - 1, p=[0.7, 0.3])]
            types.append(rng.choice(["view", "cart", "purchase"], p=[0.4, 0.2, 0.4]))
            start = settings.start + timedelta(days=day)
            for item, after, kind in zip(chosen, seconds, types, strict=True):
                rows.append((f"user-{user:04d}", ids[item], _iso(start + timedelta(seconds=int(after))), str(kind)))
    return pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp", "event_type"], orient="row")


def _visits(settings: MarketplaceSettings, rng: np.random.Generator) -> list[tuple[float, int]]:
    """(day, events) of one shopper's sessions, each on a day of its own, in order."""
    low, high = settings.events_per_user
    left = int(rng.integers(low, high + 1))
    lengths = []
    while left > 0:
        length = min(left, int(rng.integers(3, 7)))
        # A rest of one or two events would be no session: it joins this one.
        length = left if left - length < 3 else length
        lengths.append(length)
        left -= length
    n_days = settings.weeks * 7
    days = np.sort(rng.choice(n_days, size=min(len(lengths), n_days), replace=False)) + rng.uniform(0.33, 0.9)
    return list(zip(days.tolist(), lengths, strict=False))


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
