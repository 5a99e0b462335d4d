import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hubspoke.errors import HubspokeError, UsageError
from hubspoke.registry.query import run_sql
from hubspoke.registry.store import Registry
from sqlalchemy import make_url


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
    garden.registry.domains.add("pets")


def test_a_limit_and_a_time_limit(garden) -> None:
    result = run_sql(garden.registry, "SELECT ref FROM nodes ORDER BY id", limit=2)
    assert [row[0] for row in result.rows] == ["domain:garden", "snapshot:garden/items/1"]
    forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1e9) SELECT max(i) FROM n"
    with pytest.raises(HubspokeError, match=r"The query was stopped after 0\.2 seconds; narrow it, or allow"):
        run_sql(garden.registry, forever, timeout=0.2)
    assert run_sql(garden.registry, "SELECT 1", timeout=5).rows == ((1,),)


def test_odd_columns_a_percent_sign_and_an_empty_query(registry: Registry) -> None:
    result = run_sql(registry, "SELECT 1 AS a, 'x' AS a, NULL AS \"per cent %\", '50%s' AS c")
    assert (result.columns, result.rows) == (("a", "a", "per cent %", "c"), ((1, "x", None, "50%s"),))
    assert run_sql(registry, "VALUES (1), (2)").rows == ((1,), (2,))
    assert run_sql(registry, "SELECT ref FROM nodes").columns == ("ref",)
    for empty in ("", " ; ", "\n"):
        with pytest.raises(UsageError, match="The query is empty"):
            run_sql(registry, empty)
    assert run_sql(registry, "-- a remark\nSELECT 'a;b' AS x -- another").rows == (("a;b",),)


@pytest.fixture
def shelf(tmp_path: Path, sqlite_template: Path) -> Iterator[Registry]:
    """A registry alone in its folder, whose bytes are what they were when the test is over."""
    path = tmp_path / "registry.db"
    path.write_bytes(sqlite_template.read_bytes())
    with Registry(f"sqlite:///{path}") as registry:
        registry.domains.list()
        before = path.read_bytes()
        yield registry
        assert path.read_bytes() == before
        assert {found.name for found in tmp_path.iterdir()} <= {"registry.db", "registry.db-wal", "registry.db-shm"}


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("VACUUM INTO '{folder}/copy.db'", "too many attached databases"),
        ("VACUUM", "attempt to write a readonly database|too many attached databases"),
        ("ATTACH '{folder}/other.db' AS other", "too many attached databases"),
        ("SELECT load_extension('{folder}/evil.so')", "not authorized"),
        ("SELECT writefile('{folder}/x', 'y')", "no such function"),
        ("SELECT readfile('/etc/passwd')", "no such function"),
        ("SELECT edit('x', 'touch {folder}/x')", "no such function"),
        ("UPDATE sqlite_master SET sql = ''", "may not be modified"),
        *((sql, "attempt to write a readonly database") for sql in ("BEGIN IMMEDIATE", "BEGIN EXCLUSIVE", "REINDEX")),
        *((sql, "attempt to write a readonly database") for sql in ("CREATE TEMP TABLE t AS SELECT 1", "ANALYZE")),
    ],
)
def test_sqlite_refuses(shelf: Registry, tmp_path: Path, sql: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run_sql(shelf, sql.format(folder=tmp_path))


@pytest.mark.parametrize(
    "sql",
    [
        *("PRAGMA query_only = OFF", "PRAGMA writable_schema = ON", "PRAGMA journal_mode = DELETE", "PRAGMA optimize"),
        *("PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA locking_mode = EXCLUSIVE", "PRAGMA user_version = 7"),
        *("PRAGMA trusted_schema = ON", "BEGIN"),
    ],
)
def test_what_sqlite_lets_pass_changes_nothing_and_holds_nothing(shelf: Registry, sql: str) -> None:
    try:
        run_sql(shelf, sql)
    except UsageError:
        return
    # Each question has a connection of its own, so that nothing said to one outlives it.
    with pytest.raises(UsageError):
        run_sql(shelf, "DELETE FROM nodes")
    assert run_sql(shelf, "PRAGMA user_version").rows == ((0,),)
    assert run_sql(shelf, "PRAGMA journal_mode").rows == (("wal",),)


NO_ROWS = """
COPY (SELECT 1) TO '{folder}/x' | COPY (SELECT 1) TO PROGRAM 'touch {folder}/x' | COPY (SELECT 1) TO STDOUT
COPY nodes FROM '/etc/passwd' | DO $$ BEGIN COPY (SELECT 1) TO '{folder}/x'; END $$ | SET TRANSACTION READ WRITE
SET ROLE NONE | RESET SESSION AUTHORIZATION | LISTEN x | VACUUM | ALTER SYSTEM SET fsync = on | LOAD 'auto_explain'
LOCK TABLE nodes | COMMIT | PREPARE TRANSACTION 'x'
"""
DENIED = ("pg_read_file('/etc/passwd')", "pg_ls_dir('/')", "lo_import('/etc/passwd')", "lo_export(1, '{folder}/x')")
DENIED += ("pg_reload_conf()", "pg_switch_wal()", "pg_promote()")
READ_A_FILE = "SELECT word FROM ts_stat('SELECT to_tsvector(pg_read_file(''/etc/passwd''))') LIMIT 1"


@pytest.fixture
def superuser(postgres: Any) -> Iterator[Registry]:
    """A registry on PostgreSQL, opened by the server's superuser."""
    with Registry(postgres.registry_url) as registry:
        yield registry
    postgres.empty_registry()


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        *((sql, "it gives no rows") for sql in re.split(r" \| |\n", NO_ROWS.strip())),
        *((f"SELECT {call}", f"permission denied for function {call.split('(')[0]}") for call in DENIED),
        ("SELECT lo_create(7)", "read-only transaction"),
        ("SELECT lo_from_bytea(0, 'x')", "read-only transaction"),
        ("SELECT nextval('nodes_id_seq')", "permission denied|read-only transaction"),
        ("SELECT setval('nodes_id_seq', 1)", "permission denied|read-only transaction"),
        ("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()", "permission denied"),
        ("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()", "permission denied"),
        ("SELECT set_config('transaction_read_only', 'off', false)", "must be set before any query"),
        ("SELECT set_config('role', 'none', false)", "within security-definer function"),
        ("SELECT set_config('session_authorization', session_user, false)", "within security-definer function"),
        (f"SELECT set_config('role', 'none', false), ({READ_A_FILE})", "within security-definer function"),
        (READ_A_FILE, "permission denied for function pg_read_file"),
        ("SELECT query_to_xml('DELETE FROM nodes', true, true, '')", "read-only transaction|is not allowed"),
        ("SELECT pg_advisory_lock(7)", "pseudo-type void"),
        ("EXPLAIN ANALYZE DELETE FROM nodes", "permission denied|read-only transaction"),
        ("WITH gone AS (DELETE FROM nodes RETURNING *) SELECT * FROM gone", "permission denied|read-only transaction"),
        ("SELECT * FROM nodes FOR UPDATE", "permission denied|read-only transaction"),
        ("SELECT dblink_connect('x')", "does not exist"),
        ("SELECT 1 AS a, pg_sleep(0) AS b UNION ALL SELECT 2", "same number of columns"),
    ],
)
def test_postgresql_refuses_a_superuser(superuser: Registry, tmp_path: Path, sql: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run_sql(superuser, sql.replace("{folder}", str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_set_role_alone_would_not_hold_a_superuser(superuser: Registry) -> None:
    # Why there is a function: this is what the server does with the same attack without it.
    with superuser.database.engine.connect() as connection:
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        connection.exec_driver_sql("SET LOCAL ROLE pg_read_all_data")
        attack = f"SELECT set_config('role', 'none', true), ({READ_A_FILE})"
        assert connection.exec_driver_sql(attack).all() != []


def test_what_a_question_may_do_leaves_no_trace(superuser: Registry) -> None:
    asked = run_sql(superuser, "SELECT current_user::text AS who, session_user::text AS login")
    assert asked.rows[0][0] == "pg_read_all_data"
    run_sql(superuser, "SELECT pg_try_advisory_lock(7), set_config('search_path', 'elsewhere', false)")
    run_sql(superuser, "SELECT 1 FROM pg_notify('a', 'b')")
    with superuser.database.engine.connect() as connection:
        locks = connection.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").scalar()
        left = connection.exec_driver_sql("SELECT count(*) FROM pg_proc WHERE proname = 'hubspoke_ask'").scalar()
        path = connection.exec_driver_sql("SHOW search_path").scalar()
    assert (locks, left, path) == (0, 0, '"$user", public')
    with pytest.raises(HubspokeError, match="stopped after"):  # nor does it lift its own time limit
        run_sql(superuser, "SELECT set_config('statement_timeout', '0', false) FROM pg_sleep(30)", timeout=0.3)


def test_types_and_questions_about_the_plan_pass(superuser: Registry) -> None:
    row = run_sql(
        superuser,
        "SELECT 1.50::numeric(5,2) AS n, '{\"a\": [1]}'::json AS j, ARRAY['x'] AS a, "
        "'2024-01-01 00:00+00'::timestamptz AS t, true AS b, NULL AS u",
    ).rows[0]
    assert (str(row[0]), row[1], row[2], row[4], row[5]) == ("1.50", {"a": [1]}, ["x"], True, None)
    assert row[3] == datetime(2024, 1, 1, tzinfo=UTC)
    assert run_sql(superuser, "SELECT ROW(1, 2)").rows == ((("1", "2"),),)
    assert "Scan" in str(run_sql(superuser, "EXPLAIN SELECT * FROM nodes").rows)
    assert run_sql(superuser, "SHOW transaction_read_only").rows == (("on",),)


def test_a_login_that_is_no_superuser_asks_with_its_own_rights(superuser: Registry, postgres: Any) -> None:
    url = make_url(postgres.registry_url)
    postgres._execute("CREATE ROLE analyst LOGIN PASSWORD 'x'", "GRANT pg_write_server_files TO analyst")
    postgres._execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO analyst", database=url.database)
    try:
        with Registry(url.set(username="analyst", password="x").render_as_string(hide_password=False)) as registry:
            assert run_sql(registry, "SELECT current_user::text").rows == (("analyst",),)
            assert run_sql(registry, "SELECT count(*) FROM v_models").rows == ((0,),)
            for sql in ("DELETE FROM nodes", "COPY (SELECT 1) TO '/tmp/x'", "SELECT 1; SELECT 2"):
                with pytest.raises(UsageError, match="The database refused the query"):
                    run_sql(registry, sql)
    finally:
        postgres._execute("DROP OWNED BY analyst", database=url.database)
        postgres._execute("DROP ROLE analyst")
