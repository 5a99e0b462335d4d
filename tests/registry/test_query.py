from __future__ import annotations

from pathlib import Path

import pytest
from hubspoke.errors import UsageError
from hubspoke.registry.query import run_sql
from hubspoke.registry.store import Registry


def test_an_answer_has_columns_and_rows(garden) -> None:
    result = run_sql(garden.registry, "SELECT kind, count(*) AS n FROM nodes GROUP BY kind ORDER BY kind;")
    assert result.columns == ("kind", "n")
    assert result.rows == (("domain", 1), ("event_snapshot", 1), ("hub", 1), ("item_snapshot", 1))
    assert result.to_dicts()[0] == {"kind": "domain", "n": 1}
    like = run_sql(garden.registry, "SELECT ref FROM nodes WHERE ref LIKE 'snap%' ORDER BY ref")
    assert [row[0] for row in like.rows] == ["snapshot:garden/events/1", "snapshot:garden/items/1"]


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM nodes",
        "UPDATE nodes SET label = 'x'",
        "CREATE TABLE t (a INT)",
        "DROP TABLE nodes",
        "WITH gone AS (SELECT 1) INSERT INTO artifacts SELECT 'a', 'b', 1, '{}', '2020-01-01' FROM gone",
        "SELECT 1; DELETE FROM metrics",
        "COMMIT; DELETE FROM metrics",
        "SELEKT 1",
        "SELECT nothing FROM nodes",
    ],
)
def test_what_does_not_read_is_refused_by_the_database(garden, sql: str) -> None:
    before = run_sql(garden.registry, "SELECT * FROM nodes ORDER BY id").rows
    with pytest.raises(UsageError, match="The database refused the query"):
        run_sql(garden.registry, sql)
    assert run_sql(garden.registry, "SELECT * FROM nodes ORDER BY id").rows == before
    garden.registry.add_domain("pets")


@pytest.mark.parametrize("sql", ["", " ; ", "\n"])
def test_an_empty_query(registry: Registry, sql: str) -> None:
    with pytest.raises(UsageError, match="The query is empty"):
        run_sql(registry, sql)


def test_sqlite_attaches_no_other_file(tmp_path: Path, sqlite_template: Path) -> None:
    with Registry(f"sqlite:///{sqlite_template}") as registry:
        with pytest.raises(UsageError, match="too many attached databases"):
            run_sql(registry, f"ATTACH '{tmp_path / 'other.db'}' AS other")
        run_sql(registry, "PRAGMA query_only = OFF")
        with pytest.raises(UsageError):
            run_sql(registry, "DELETE FROM nodes")
    assert list(tmp_path.iterdir()) == []
