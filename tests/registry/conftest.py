"""A small registry that these tests share, and real processes beside it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
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


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start real Python processes with code and arguments; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)

    def begin(code: str, *arguments: str) -> subprocess.Popen[str]:
        started.append(subprocess.Popen([sys.executable, "-c", code, *arguments], text=True, **pipes))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()
