"""The page on ranking names every feature and every setting as the code has them."""

from pathlib import Path

from hubspoke.ranking.config import RerankConfig
from hubspoke.ranking.features import FEATURES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "ranking.md").read_text(encoding="utf-8")
PROMISE = {1: "never harms", -1: "never helps", 0: ""}


def test_the_table_of_features_is_the_code() -> None:
    rows = [f"| `{own.name}` | {own.says} | {PROMISE[own.monotone]} |" for own in FEATURES]
    assert "\n".join(rows) in PAGE


def test_every_setting_is_named() -> None:
    named = PAGE.partition("| setting")[2].partition("## Features")[0]
    assert [name for name in RerankConfig.model_fields if f"`{name}`" not in named] == []
