"""The scripts of `benchmarks/` under the name that `python -m benchmarks.spokes.public` gives them, and a tiny file."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]

if "benchmarks" not in sys.modules:
    # A folder without an __init__, and without the repository's other folders becoming importable by their bare names.
    namespace = importlib.machinery.ModuleSpec("benchmarks", None, is_package=True)
    namespace.submodule_search_locations = [str(ROOT / "benchmarks")]
    sys.modules["benchmarks"] = importlib.util.module_from_spec(namespace)


@pytest.fixture(scope="session")
def circle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 users who walk round a circle of 30 items: the next item is certain, so a few epochs learn it."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("benchmark") / "circle.txt"
    walks = ((rng.integers(30), rng.integers(5, 12)) for _ in range(80))
    lines = (" ".join(f"{1 + (start + i) % 30}" for i in range(length)) for start, length in walks)
    path.write_text("".join(f"{user} {line}\n" for user, line in enumerate(lines, 1)), encoding="utf-8")
    return path
