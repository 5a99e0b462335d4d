"""Lineage and SQL through the workspace."""

from __future__ import annotations

from typing import Any

import pytest
from hubspoke.errors import NotFoundError, UsageError
from hubspoke.workflows.workspace import Workspace


def test_tree_and_its_two_directions(garden: Workspace, models: Any) -> None:
    hub = models.hub()
    spoke = models.spoke(hub.ref)
    index = models.index(spoke.ref)
    tree = garden.lineage.show(index.ref)
    assert tree.node.ref == "index:garden/1"
    assert [child.node.ref for child in tree.children] == ["snapshot:garden/items/1", "garden:1"]
    assert set(garden.lineage.upstream("garden:1").refs) >= {"hub:1", "snapshot:garden/events/1"}
    assert set(garden.lineage.downstream("hub:1").refs) == {"garden:1", "index:garden/1"}
    assert garden.lineage.show("hub:1", "downstream").children[0].node.ref == "garden:1"


def test_what_points_at_nothing_and_what_is_no_reference(garden: Workspace) -> None:
    with pytest.raises(NotFoundError):
        garden.lineage.show("garden:9")
    with pytest.raises(UsageError, match="not a reference"):
        garden.lineage.show("garden/9")


def test_sql_reads_and_only_reads(each_ws: Workspace) -> None:
    each_ws.domain.add("garden")
    result = each_ws.sql("SELECT ref, kind FROM nodes")
    assert (result.columns, result.rows) == (("ref", "kind"), (("domain:garden", "domain"),))
    with pytest.raises(UsageError, match="The database refused"):
        each_ws.sql("DELETE FROM nodes")
    assert [domain.name for domain in each_ws.domain.list()] == ["garden"]
