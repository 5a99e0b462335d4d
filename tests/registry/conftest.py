"""A small registry that these tests share."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hubspoke.registry.store import Registry


@pytest.fixture
def garden(registry: Registry, versions_of: Callable[[Registry], Any]) -> Any:
    """The domain garden with one snapshot of each kind and hub:1, and what makes more."""
    registry.domains.add("garden", "plants and pots")
    made = versions_of(registry)
    made.snapshot("items")
    made.snapshot("events")
    made.hub()
    return made


@pytest.fixture(scope="module")
def sqlite_registry(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Registry]:
    """One registry for all examples of a property."""
    path = shutil.copy(sqlite_template, tmp_path_factory.mktemp("graphs") / "registry.db")
    with Registry(f"sqlite:///{path}") as registry:
        yield registry
