"""The benchmark of the console asks every page of a small registry and says what each took."""

import pytest

from benchmarks import console
from benchmarks.registry import Shape


def test_every_page_is_asked_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "painted", lambda *_: None)  # the browser has tests of its own
    monkeypatch.setattr(console, "RECENT_SECONDS", 0)
    report = console.measure(Shape(domains=3, spokes=2, indexes=2, evaluations=2), 1, 50)
    assert [row["page"] for row in report["pages"]] == list(console.PAGES)
    assert all(row["median_ms"] > 0 and row["kb"] > 1 for row in report["pages"])
    assert "| overview |" in console.markdown(report)
