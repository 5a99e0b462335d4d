"""A cheap guess of the languages of texts: by their script, and by common short words where that is Latin."""

from __future__ import annotations

import polars as pl

SAMPLE = 1_000
UNKNOWN = "unknown"
SCRIPTS = {
    "ja": r"[\p{Hiragana}\p{Katakana}]",
    "ko": r"\p{Hangul}",
    "zh": r"\p{Han}",
    "ru": r"\p{Cyrillic}",
    "el": r"\p{Greek}",
    "ar": r"\p{Arabic}",
    "he": r"\p{Hebrew}",
    "hi": r"\p{Devanagari}",
    "th": r"\p{Thai}",
}
# Frequent words that few other languages have.
WORDS = {
    "en": "the and with for of from this your is made",
    "de": "der die das und mit für aus von im ist ein eine zum",
    "fr": "le la les et avec pour de des du une en est",
    "es": "el los las y con para del una en es",
    "it": "il gli e con per di della una in è",
    "nl": "het een en met voor van de uit is",
    "sv": "och med för av ett en är i till",
    "da": "og med til af et er i på",
    "pt": "o os as e com para do da uma em é",
    "pl": "i z do na w dla ze jest oraz",
}


def guess_languages(texts: pl.Series) -> dict[str, float]:
    """Share of texts by language (ISO 639-1), most frequent first; what gives no hint is `unknown`.

    The Cyrillic and the Arabic script count as Russian and Arabic, whatever their language.
    """
    some = texts.drop_nulls().gather_every(max(1, texts.len() // SAMPLE))
    if not len(some):
        return {}
    words = pl.DataFrame({"text": some, "words": some.str.to_lowercase().str.extract_all(r"\pL+")})
    counts = words.select(
        pl.col("words").list.set_intersection(own.split()).list.len().alias(name) for name, own in WORDS.items()
    )
    best = counts.max_horizontal()
    # The first of equals: languages that share words are told apart by the others.
    named = counts.select(pl.coalesce(pl.when(pl.col(name) == best).then(pl.lit(name)) for name in WORDS).alias("name"))
    found = named["name"].set(best == 0, UNKNOWN)
    for name, script in reversed(SCRIPTS.items()):
        found = found.set(some.str.count_matches(script) * 3 >= some.str.count_matches(r"\pL").clip(1), name)
    shares = found.value_counts(sort=True, normalize=True, name="share")
    return {str(name): round(share, 2) for name, share in shares.iter_rows()}
