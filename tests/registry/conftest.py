"""The domain garden in a registry, and real processes beside this one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hubspoke.registry.store import Registry


@pytest.fixture
def garden(registry: Registry, versions_of: Callable[[Registry], Any]) -> Any:
    """Makes versions of garden, which has one snapshot of each kind and hub:1."""
    registry.domains.add("garden", "plants and pots")
    made = versions_of(registry)
    made.snapshot("items")
    made.snapshot("events")
    made.hub()
    return made


StartProcess = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[StartProcess]:
    """Start real Python processes with code and arguments; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(code: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *arguments]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()
