"""The ten questions of docs/questions.md: each is answered on both databases, whatever the registry holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hubspoke.registry.query import run_sql
from hubspoke.registry.store import Registry

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "questions.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(.*?)\n```", PAGE, re.DOTALL)


def test_there_are_ten_and_each_has_an_answer() -> None:
    assert len(QUERIES) == 10
    assert "no rows" not in PAGE


@pytest.mark.parametrize("query", QUERIES, ids=[f"question {number}" for number in range(1, len(QUERIES) + 1)])
def test_the_database_understands_it_and_gives_the_columns_shown(registry: Registry, query: str) -> None:
    answer = run_sql(registry, query)
    assert "  ".join(answer.columns).split() == _headings(query)


def _headings(query: str) -> list[str]:
    shown = PAGE.split(query, 1)[1].split("```\n", 2)[2]
    return shown.splitlines()[0].split()


def test_the_questions_find_what_there_is(garden) -> None:
    garden.promote()
    serves = run_sql(garden.registry, QUERIES[0])
    assert serves.to_dicts()[0]["live"] == "release:garden/1"
    moves = run_sql(garden.registry, QUERIES[8])
    assert [move["to_ref"] for move in moves.to_dicts()] == ["release:garden/1"]
