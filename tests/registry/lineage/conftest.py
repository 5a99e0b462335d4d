from __future__ import annotations

from collections.abc import Iterator

import pytest
from hubspoke.registry.migrate import upgrade
from hubspoke.registry.store import Registry


@pytest.fixture(scope="module")
def sqlite_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    url = f"sqlite:///{tmp_path_factory.mktemp('graphs') / 'registry.db'}"
    upgrade(url)
    with Registry(url) as registry:
        yield registry
