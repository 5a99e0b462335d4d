import json
import math
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hubspoke.commands.answers import exact
from hubspoke.errors import HubspokeError, InvalidDataError, LockedError, UsageError
from hubspoke.registry.query import once_each, run_sql
from hubspoke.registry.store import Registry
from hypothesis import given
from hypothesis import strategies as st
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
    assert (result.columns, result.rows) == (("a", "a_2", "per cent %", "c"), ((1, "x", None, "50%s"),))
    assert run_sql(registry, "VALUES (1), (2)").rows == ((1,), (2,))
    assert run_sql(registry, "SELECT ref FROM nodes").columns == ("ref",)
    for empty in ("", " ; ", "\n"):
        with pytest.raises(UsageError, match="The query is empty"):
            run_sql(registry, empty)
    assert run_sql(registry, "-- a remark\nSELECT 'a;b' AS x -- another").rows == (("a;b",),)


def test_columns_of_one_name_are_kept_apart(garden) -> None:
    joined = "SELECT d.ref, m.ref FROM nodes d JOIN nodes m ON m.id = d.id + 1 ORDER BY d.id"
    result = run_sql(garden.registry, joined, limit=1)
    assert result.to_dicts() == [{"ref": "domain:garden", "ref_2": "snapshot:garden/items/1"}]
    # Names that are there already are nobody else's.
    three = run_sql(garden.registry, "SELECT 1 AS a, 2 AS a, 3 AS a_2, 4 AS a, 5 AS a_2")
    assert three.to_dicts() == [{"a": 1, "a_3": 2, "a_2": 3, "a_4": 4, "a_2_2": 5}]


@given(st.lists(st.sampled_from(["a", "a_2", "a_3", "a_2_2", ""]), max_size=8))
def test_every_column_has_a_name_of_its_own(names: list[str]) -> None:
    found = once_each(names)
    assert len(set(found)) == len(found) == len(names)
    assert all(own.startswith(name) for own, name in zip(found, names, strict=True))
    # The first of each name keeps it.
    assert all(found[names.index(name)] == name for name in names)


def test_a_query_that_is_no_text_is_refused(registry: Registry) -> None:
    for sql in ("SELECT 1\0", "SELECT '\udcff'"):
        with pytest.raises(UsageError, match="The query holds bytes that are no text"):
            run_sql(registry, sql)
    assert run_sql(registry, "SELECT 'ж' AS a").rows == (("ж",),)


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


def test_sqlite_gives_what_it_holds_whatever_that_is(shelf: Registry) -> None:
    row = run_sql(
        shelf, "SELECT CAST(x'61ff' AS TEXT), x'00ff', 9e999, 9223372036854775807, zeroblob(100000), 'a' || char(0)"
    ).rows[0]
    assert row == ("a\\xff", b"\x00\xff", math.inf, 2**63 - 1, bytes(100_000), "a\0")


def test_a_damaged_page_is_invalid_data_also_after_the_first_rows(tmp_path: Path, sqlite_template: Path) -> None:
    path = Path(shutil.copy(sqlite_template, tmp_path / "registry.db"))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE big (n INTEGER PRIMARY KEY, filler)")
        rows = [(n, "x" * 500) for n in range(2_000)]
        connection.executemany("INSERT INTO big VALUES (?, ?)", rows)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    content = path.read_bytes()
    last = content.rindex(b"x" * 500) // size * size
    path.write_bytes(content[:last] + b"\xee" * size + content[last + size :])
    with Registry(f"sqlite:///{path}") as registry:
        assert run_sql(registry, "SELECT n FROM big ORDER BY n", limit=3).rows == ((0,), (1,), (2,))
        with pytest.raises(InvalidDataError, match="malformed"):
            run_sql(registry, "SELECT n, filler FROM big ORDER BY n")


def test_a_file_that_another_process_keeps_to_itself_is_locked(
    tmp_path: Path, sqlite_template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copy(sqlite_template, tmp_path / "registry.db"))
    with Registry(f"sqlite:///{path}") as registry, closing(sqlite3.connect(path, isolation_level=None)) as other:
        registry.close()
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr("hubspoke.registry.sqlite.WAIT_SECONDS", 0.01)
        with pytest.raises(LockedError, match="Another process is writing to"):
            run_sql(registry, "SELECT * FROM nodes")


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


@pytest.fixture
def analyst(superuser: Registry, postgres: Any) -> Iterator[Registry]:
    """The same registry, opened by a login that may read."""
    url = make_url(postgres.registry_url)
    postgres._execute("CREATE ROLE reader LOGIN")
    postgres._execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", database=url.database)
    with Registry(url.set(username="reader").render_as_string(hide_password=False)) as registry:
        yield registry
    postgres._execute("DROP OWNED BY reader", database=url.database)
    postgres._execute("DROP ROLE reader")


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


# What stands in JSON and CSV for a value, where it is not the text that PostgreSQL prints.
TYPES: dict[str, Any] = {
    "1.50::numeric(5,2)": Decimal("1.50"),
    "sum(x) FROM (VALUES (9007199254740993)) AS t(x)": Decimal(9007199254740993),
    "'Infinity'::float8": math.inf,
    "'2024-02-29'::date": date(2024, 2, 29),
    "'infinity'::date": "infinity",
    "'10000-01-01'::date": "10000-01-01",
    "'4713-01-01 BC'::date": "4713-01-01 BC",
    "'24:00:00'::time": "24:00:00",
    "'-infinity'::timestamptz": "-infinity",
    "'20000-01-01'::timestamp": "20000-01-01 00:00:00",
    "'1 month 2 days 03:00'::interval": "1 mon 2 days 03:00:00",
    "'\\x00ff'::bytea": b"\x00\xff",
    "'10.0.0.0/8'::cidr": ip_network("10.0.0.0/8"),
    "'08:00:2b:01:02:03'::macaddr": "08:00:2b:01:02:03",
    "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid": UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "int4range(1,5)": "[1,5)",
    "daterange('2024-01-01','infinity')": "[2024-01-01,infinity)",
    "'{[1,3),[7,8)}'::int4multirange": "{[1,3),[7,8)}",
    "ARRAY['infinity'::date, '2024-01-01']": ["infinity", date(2024, 1, 1)],
    "ARRAY['1 mon'::interval]": ["1 mon"],
    "ARRAY['a'::char(3)]": ["a  "],
    "'ab'::char(5)": "ab   ",
    "B'101'": "101",
    "'12.34'::money": "$12.34",
    "point(1,2)": "(1,2)",
    "to_tsvector('simple', 'a b')": "'a':1 'b':2",
    '\'{"a": 0.10, "b": 1e400}\'::jsonb': {"a": Decimal("0.10"), "b": 10**400},
}


@pytest.mark.parametrize("login", ["superuser", "analyst"])
def test_every_type_of_postgresql_keeps_its_meaning(superuser: Registry, analyst: Registry, login: str) -> None:
    registry = superuser if login == "superuser" else analyst
    for sql, value in TYPES.items():
        assert run_sql(registry, f"SELECT {sql}").rows == ((value,),), sql
    for sql in TYPES:
        json.dumps(exact(run_sql(registry, f"SELECT {sql}").rows[0][0]), allow_nan=False)


FAULTS: dict[str, tuple[type[Exception], str]] = {
    "XX001": (InvalidDataError, "is damaged"),
    "57P01": (HubspokeError, "cannot be reached"),
    "53100": (HubspokeError, "No space is left"),
    "58030": (HubspokeError, "refused"),
    "57014": (HubspokeError, "refused"),
    "55P03": (LockedError, "Another process is writing"),
    "40P01": (LockedError, "Another process is writing"),
    "22012": (UsageError, "The database refused the query"),
}


@pytest.mark.parametrize("code", FAULTS)
def test_what_goes_wrong_while_rows_come_is_told_as_what_it_is(superuser: Registry, postgres: Any, code: str) -> None:
    made = (
        "CREATE OR REPLACE FUNCTION breaks() RETURNS SETOF int LANGUAGE plpgsql AS $$ BEGIN "
        f"RETURN QUERY SELECT generate_series(1, 5000); RAISE EXCEPTION 'as it is' USING ERRCODE = '{code}'; END $$"
    )
    database = make_url(postgres.registry_url).database
    postgres._execute(made, database=database)
    try:
        error, said = FAULTS[code]
        with pytest.raises(error, match=said) as told:
            run_sql(superuser, "SELECT * FROM breaks()")
        assert type(told.value) is error
    finally:
        postgres._execute("DROP FUNCTION breaks()", database=database)


def test_a_session_that_ends_under_a_statement_is_a_server_that_is_not_reached(analyst: Registry) -> None:
    with pytest.raises(HubspokeError, match="cannot be reached") as told:
        run_sql(analyst, "SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(5)")
    assert type(told.value) is HubspokeError
    assert run_sql(analyst, "SELECT 1").rows == ((1,),)


def test_a_database_whose_transactions_read_only_is_asked_all_the_same(superuser: Registry, postgres: Any) -> None:
    database = make_url(postgres.registry_url).database
    postgres._execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    try:
        superuser.close()
        assert run_sql(superuser, "SELECT count(*) FROM nodes").rows == ((0,),)
        with pytest.raises(UsageError, match=r"permission denied|read-only transaction"):
            run_sql(superuser, "WITH gone AS (DELETE FROM nodes RETURNING *) SELECT * FROM gone")
    finally:
        postgres._execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")
        superuser.close()
