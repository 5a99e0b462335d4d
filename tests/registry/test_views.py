import re

import pytest
from hubspoke.errors import NotFoundError
from hubspoke.registry.query import run_sql
from hubspoke.registry.store import Registry
from hubspoke.registry.views import VIEWS, Column, find_views
from sqlalchemy import inspect

WORDS = {"text": "text", "character varying": "text", "integer": "integer", "bigint": "integer"}
WORDS |= {"double precision": "number", "timestamp with time zone": "timestamp"}


def test_the_documented_views_and_columns_are_those_of_the_database(registry: Registry) -> None:
    names = [view.name for view in VIEWS]
    assert sorted(inspect(registry.database.engine).get_view_names()) == sorted(names)
    told = {name: run_sql(registry, f"SELECT * FROM {name}").columns for name in names}
    assert told == {view.name: tuple(column.name for column in view.columns) for view in VIEWS}


# A column of an SQLite view has no type of its own.
@pytest.mark.parametrize("registry_url", ["postgresql"], indirect=True)
def test_types_equal_those_that_postgresql_knows(registry: Registry) -> None:
    query = "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_name LIKE 'v\\_%'"
    found = {(table, column): WORDS[kind] for table, column, kind in run_sql(registry, query).rows}
    assert found == {(view.name, column.name): column.type for view in VIEWS for column in view.columns}


def test_every_view_and_column_says_what_it_means_in_one_phrase() -> None:
    for view in VIEWS:
        assert re.fullmatch(r"One row per .+\.", view.meaning)
        assert len({column.name for column in view.columns}) == len(view.columns)
        assert all(re.fullmatch(r".*[^.]", column.meaning) for column in view.columns)


def test_views_by_name_in_the_order_asked_for() -> None:
    assert [view.name for view in find_views(("v_parts", "v_models"))] == ["v_parts", "v_models"]
    assert find_views() == VIEWS
    assert VIEWS[0].columns[0] == Column("domain", "text", "name of the domain")
    with pytest.raises(NotFoundError, match=r"There is no view 'v_model'; the views are v_domains, v_snapshots, "):
        find_views(("v_model",))
