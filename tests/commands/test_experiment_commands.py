"""`experiment`: what is started, shown, stopped and refused, and with which code."""

from typing import Any

import pytest


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
    assert ["decides", "revenue of 500 shoppers, each for 1:30:00"] in made.lines
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
