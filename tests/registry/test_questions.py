"""The ten questions of docs/questions.md: each is answered on both databases, whatever the registry holds."""

import re
from pathlib import Path

import pytest
from hubspoke.registry.query import run_sql
from hubspoke.registry.store import Registry

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "questions.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(.*?)\n```", PAGE, re.DOTALL)


@pytest.mark.parametrize("query", QUERIES, ids=[f"question {number}" for number in range(1, len(QUERIES) + 1)])
def test_the_database_understands_it_and_gives_the_columns_shown(registry: Registry, query: str) -> None:
    shown = PAGE.split(query, 1)[1].split("```\n", 2)[2].splitlines()[0].split()
    assert "  ".join(run_sql(registry, query).columns).split() == shown


def test_the_ten_questions_find_what_there_is(garden) -> None:
    assert len(QUERIES) == 10 and "no rows" not in PAGE
    garden.promote()
    assert run_sql(garden.registry, QUERIES[0]).to_dicts()[0]["live"] == "release:garden/1"
    assert [move["to_ref"] for move in run_sql(garden.registry, QUERIES[8]).to_dicts()] == ["release:garden/1"]
