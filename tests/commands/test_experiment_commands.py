"""`experiment`: what is started, shown, stopped and refused, and with which code."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hubspoke.catalog.exposures import Exposure
from hubspoke.catalog.line_log import LineLog
from hubspoke.catalog.shopper_events import read_event


@pytest.fixture
def tried(two_spokes: Any) -> Any:
    """`run` where garden:1 is live and garden:2 the candidate."""
    assert two_spokes("promote", "garden:1").code == 0
    assert two_spokes("promote", "garden:2", "--to", "candidate").code == 0
    return two_spokes


def test_one_is_started_listed_and_stopped(tried: Any) -> None:
    assert tried("experiment", "list").out == "No experiment has run yet.\n"
    start = ("experiment", "start", "garden", "--candidate", "garden@candidate", "--share", "0.1", "--window", "90m")
    planned = tried(*start, "--dry-run")
    assert planned.out.startswith("experiment:garden/1 would start.\n")
    made = tried(*start, "--reason", "new spoke", "--planned", "500")
    assert made.out.startswith("experiment:garden/1 runs.\n")
    assert ["candidate", "release:garden/2 for 0.1 of the shoppers"] in made.lines
    assert ["decides", "revenue of 500 shoppers, each for 90m"] in made.lines
    again = tried(*start)
    assert (again.code, "`hubspoke experiment stop garden`" in again.err) == (8, True)
    (listed,) = tried("experiment", "list", "garden", "--json").json["experiments"]
    assert (listed["ref"], listed["share"], listed["window_seconds"]) == ("experiment:garden/1", 0.1, 5400)
    assert "no longer split" in tried("promote", "garden:2").err
    assert tried("experiment", "stop", "garden", "--dry-run").out.startswith("experiment:garden/1 would be stopped.\n")
    ended = tried("experiment", "stop", "garden", "--reason", "enough", "--json").json
    assert (ended["experiment"]["stop_reason"], ended["cached"]) == ("enough", False)
    assert tried("experiment", "stop", "garden").out.startswith("experiment:garden/1 had ended already.\n")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--candidate", "garden:2"), 2, "`hubspoke promote garden:2 --to candidate`"),
        (("--candidate", "garden@candidate", "--share", "0"), 2, "give one between 0 and 1"),
        (("--candidate", "garden@candidate", "--window", "week"), 2, "write it like 7d, 12h, 90m or 30s"),
        (("--candidate", "garden@next"), 5, "points at nothing yet"),
    ],
)
def test_what_cannot_start_is_refused(tried: Any, options: tuple[str, ...], code: int, words: str) -> None:
    ended = tried("experiment", "start", "garden", *options)
    assert (ended.code, words in ended.err) == (code, True), ended.err


@pytest.fixture
def seen(tried: Any, home: Path) -> Any:
    """`run` where 400 shoppers were shown an experiment's lists, and those who saw the candidate bought more."""
    assert tried("experiment", "start", "garden", "--candidate", "garden@candidate", "--planned", "400").code == 0
    lists, events = [], []
    for number in range(400):
        arm, release = (("control", "release:garden/1"), ("candidate", "release:garden/2"))[number % 2]
        told = {"recommendation_id": f"r{number}", "at": datetime(2024, 6, 1, tzinfo=UTC), "propensity": 0.5}
        about = {"experiment": "experiment:garden/1", "arm": arm, "release": release, "items": ("rose", "fern")}
        lists.append(Exposure(shopper=f"u{number}", **told, **about))
        value = float(1 + number % 2 + number // 2 % 2)
        bought = {"item_id": "rose", "recommendation_id": f"r{number}", "value": value}
        at = {"timestamp": "2024-06-01T10:00:00Z", "event_type": "purchase"}
        events.append(read_event({"user_id": f"u{number}", **bought, **at}, datetime.now(UTC)))
    LineLog(home / ".hubspoke" / "exposures" / "garden").append(lists)
    LineLog(home / ".hubspoke" / "events" / "garden").append(events)
    return tried


def test_a_report_is_read_and_the_winner_promoted(seen: Any, home: Path) -> None:
    shown = seen("experiment", "report", "garden").out
    assert shown.startswith("The candidate is better: revenue per shopper 1.5 to 2.5 (+1, +66.7%; ")
    for words in ("sound (p = 1)", "revenue *", "margin: 400 of 400 purchases have no known cost or revenue."):
        assert words in shown
    told = seen("experiment", "report", "experiment:garden/1", "--json").json
    assert (told["outcome"], told["sound"], told["waiting"]) == ("better", True, 0)
    assert [arm["counted"] for arm in told["arms"]] == [200, 200]
    written = seen("experiment", "report", "garden", "--impressions", "log.parquet")
    assert written.err == "Wrote log.parquet.\n"
    card = seen("evaluate", "business", "garden:2", "--log", "log.parquet", "--json").json
    assert [row["value"] for row in card["rows"]] == [pytest.approx(1.25)]
    planned = seen("experiment", "promote", "garden", "--dry-run").out
    assert "garden@live would point at release:garden/2." in planned
    made = seen("experiment", "promote", "garden", "--reason", "sells more", "--json").json
    assert (made["promotion"]["after"], made["experiment"]["stopped_at"] is None) == ("release:garden/2", False)
    assert seen("experiment", "promote", "garden").code == 0  # once more, as after a kill


def test_what_nobody_has_seen_is_not_promoted(tried: Any) -> None:
    assert tried("experiment", "report", "garden").code == 5
    tried("experiment", "start", "garden", "--candidate", "garden@candidate")
    assert tried("experiment", "report", "garden").out.startswith(
        "No list of experiment:garden/1 has been shown yet.\n"
    )
    refused = tried("experiment", "promote", "garden")
    assert (refused.code, "--override --reason TEXT" in refused.err) == (3, True)
    assert tried("experiment", "promote", "garden", "--override").code == 2
    overruled = tried("experiment", "promote", "garden", "--override", "--reason", "we must")
    assert (overruled.code, "garden@live points at release:garden/2." in overruled.out) == (0, True)
