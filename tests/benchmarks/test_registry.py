"""The registry's questions on a small made-up history: every one is answered, and through indexes."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hubspoke.registry.store import Registry
from sqlalchemy import make_url

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "registry.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("registry_benchmark", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def filled(benchmark: ModuleType, blank_url: str) -> tuple[str, object]:
    shape = benchmark.Shape(domains=12, spokes=11, indexes=10, evaluations=3)
    benchmark.fill(blank_url, benchmark.History(shape))
    return blank_url, shape


def unscanned(url: str) -> str:
    """On PostgreSQL a whole table is then read only where no index could answer: tiny tables are always read whole."""
    if not url.startswith("postgresql"):
        return url
    return make_url(url).update_query_dict({"options": "-c enable_seqscan=off"}).render_as_string(hide_password=False)


def test_every_question_finds_an_index_and_stands_in_the_table(
    benchmark: ModuleType, filled: tuple[str, object]
) -> None:
    url, shape = filled
    with Registry(unscanned(url)) as registry:
        found = benchmark.ask(registry, shape, repeats=2)
        # A table that is read whole would be named.
        assert benchmark.scans(registry, [("SELECT ref FROM nodes AS n WHERE label = 'x'", ())]) == {"nodes"}
    assert {row["question"]: row["scans"] for row in found if row["scans"]} == {}
    assert all(len(row["milliseconds"]) == len(row["in_database"]) == 2 for row in found)
    rows = dict.fromkeys(("domains", "models", "edges", "nodes", "metrics"), 1000)
    report = {"rows": rows, "repeats": 2, "databases": {"X": {"fill_seconds": 1.0, "questions": found}}}
    text = benchmark.markdown({**report, **benchmark.about()})
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert lines[0] == "| milliseconds: median (slowest) | X | records built |" and len(lines) == 1 + len(found)


def test_the_history_is_what_it_says(filled: tuple[str, object]) -> None:
    with Registry(filled[0]) as registry:
        assert len(registry.domains.list()) == 12
        # The newest hub, of an odd version: one spoke per domain stands on it and none starts from those.
        steps = registry.lineage.impact("hub:11").steps
        assert sorted(step.ref for step in steps if step.kind == "spoke") == [f"domain_{n:04d}:11" for n in range(12)]
        longest = registry.lineage.upstream("domain_0000:11")
        assert {f"domain_0000:{n}" for n in range(1, 11)} <= set(longest.refs)
