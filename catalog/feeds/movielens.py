"""MovieLens: ratings and movies, with a header line (ratings.csv) or without one (ratings.dat, u.data)."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import polars as pl

from ..layout import Layout
from ..parsing import text
from ..tables import Table
from .base import Shaped, has
from .shaping import Renamed, looks_like, named

RATING, SECONDS = r"[0-5](\.[05])?", r"\d{9,10}"
# The columns of u.item behind id, title, two dates and an address: 1 where the genre is one of the movie's.
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
U_ITEM = ("movieId", "title", "released", "video released", "address", *GENRES)
RATINGS = ("userId", "movieId", "rating", "timestamp")
NO_GENRE = ("(no genres listed)", "unknown")


class MovieLensRatings(Renamed):
    """Ratings of users at a time."""

    name = "movielens"
    kind = "events"
    title = "MovieLens ratings"
    export = "the research set's ratings.csv, ratings.dat or u.data"
    reads: ClassVar = {
        "user_id": "userId",
        "item_id": "movieId",
        "timestamp": "timestamp",
        "value": "rating",
        "event_type": "always rating",
    }
    event_type = "rating"

    def matches(self, table: Table) -> bool:
        """Whether it has the names, or without header line four numbers as a rating has them."""
        if has(table, *self.needed()):
            return True
        columns = table.frame.columns
        if not table.headerless or len(columns) != 4 or table.separator not in ("::", "\t"):
            return False
        patterns = (r"\d+", r"\d+", RATING, SECONDS)
        return all(looks_like(table.frame[name], p) for name, p in zip(columns, patterns, strict=True))

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """Ratings, whose stars are the value."""
        if not has(table, *self.needed()):
            table = named(table, RATINGS)
        return super().shape(table, layout)


class MovieLensMovies(Renamed):
    """Movies, whose title keeps the year."""

    name = "movielens"
    kind = "items"
    title = "MovieLens movies"
    export = "the research set's movies.csv, movies.dat or u.item"
    encoding = "latin-1"
    reads: ClassVar = {"item_id": "movieId", "title": "title", "category_path": "genres"}

    def matches(self, table: Table) -> bool:
        """Whether it has the names, or without header line the three columns of movies.dat or all of u.item."""
        if has(table, *self.needed()):
            return True
        columns = table.frame.columns
        if not table.headerless or not looks_like(table.frame[columns[0]], r"\d+"):
            return False
        if len(columns) == 3 and table.separator == "::":
            return True
        flags = columns[-len(GENRES) :]
        return len(columns) == 5 + len(GENRES) and all(looks_like(table.frame[name], "[01]") for name in flags)

    def shape(self, table: Table, layout: Layout) -> Shaped:
        """Genres as lists; a movie without one has none."""
        if not has(table, *self.needed()):
            table = _flagged(named(table, U_ITEM)) if has(table, str(len(U_ITEM))) else named(table, self.needed())
        shaped = super().shape(table, layout)
        genre = pl.element().filter(~pl.element().is_in(NO_GENRE))
        lists = text(shaped.table.frame["category_path"]).str.split("|").list.eval(genre)
        return shaped.reframed(shaped.table.frame.with_columns(lists.alias("category_path")))


def _flagged(table: Table) -> Table:
    """A table of u.item with its genres as one text."""
    flags = [text(table.frame[genre]) == "1" for genre in GENRES]
    names = [pl.when(flag).then(pl.lit(flag.name)) for flag in flags]
    genres = table.frame.select(genres=pl.concat_list(names).list.drop_nulls().list.join("|"))
    return replace(table, frame=table.frame.drop(GENRES).hstack(genres))
