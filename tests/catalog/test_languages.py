import polars as pl
import pytest
from hubspoke.catalog.languages import guess_languages


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("A mug for the garden, made with care", "en"),
        ("Eine Tasse f\u00fcr den Garten und das Haus", "de"),
        ("Une tasse pour le jardin et la maison", "fr"),
        ("En kopp f\u00f6r tr\u00e4dg\u00e5rden och huset", "sv"),
        ("\u30ac\u30fc\u30c7\u30f3\u306e\u30ab\u30c3\u30d7", "ja"),
        ("\u0427\u0430\u0448\u043a\u0430 \u0434\u043b\u044f \u0441\u0430\u0434\u0430", "ru"),
        ("XJ-900", "unknown"),
    ],
)
def test_one_text(text: str, language: str) -> None:
    assert guess_languages(pl.Series([text, None])) == {language: 1.0}


def test_shares_of_several() -> None:
    texts = pl.Series(["the mug", "with a lid for tea", "und die Tasse", "XJ"])
    assert guess_languages(texts) == {"en": 0.5, "de": 0.25, "unknown": 0.25}
    assert guess_languages(pl.Series([None], dtype=pl.String)) == {}
