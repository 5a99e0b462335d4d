"""Promotions and rollbacks: what may serve, which release is made, and that a dry run makes none."""

from typing import Any

import pytest
from hubspoke.errors import IncompatibleError, LockedError, NotFoundError, UsageError
from hubspoke.workflows.workspace import Workspace


def test_a_spoke_is_released_with_its_newest_index_and_hub(garden: Workspace, models: Any) -> None:
    models.spoke(models.hub().ref)
    models.index("garden:1")
    newest = models.index("garden:1")
    moved = garden.promote("garden:1", reason="first")
    assert (moved.scope, moved.alias, moved.before, moved.after) == ("garden", "live", None, "release:garden/1")
    assert (moved.hub, moved.spoke, moved.index) == ("hub:1", "garden:1", newest.ref)
    again = garden.promote("garden:1")
    assert (moved.cached, again.cached, again.after) == (False, True, "release:garden/1")
    (move,) = garden.history("garden")
    assert (move.actor, move.reason, move.to_ref) == ("tester", "first", "release:garden/1")
    assert garden.domain.show("garden").domain.live == "release:garden/1"


def test_indexes_hubs_releases_and_aliases_can_be_promoted(garden: Workspace, models: Any) -> None:
    models.spoke(models.hub().ref)
    models.index("hub:1", space="hubspace calibrated for garden")
    models.index("garden:1")
    for ref, to, after in (
        # The index of a hub makes a release without a spoke, and a hub version moves the alias of the hub.
        ("index:garden/1", "candidate", "release:garden/1"),
        ("garden@candidate", "live", "release:garden/1"),
        ("hub:1", "live", "hub:1"),
        ("garden:1", "spare", "release:garden/2"),
        ("release:garden/1", "spare", "release:garden/1"),
    ):
        moved = garden.promote(ref, to=to)
        scope = "hub" if ref == "hub:1" else "garden"
        assert (moved.after, moved.scope, garden.registry.resolve(f"{scope}@{to}").ref) == (after, scope, after)
        assert (moved.hub, moved.spoke) == ("hub:1", "garden:1" if ref == "garden:1" else None)


def test_a_dry_run_moves_nothing_and_what_cannot_serve_is_refused(garden: Workspace, models: Any, refused: Any) -> None:
    models.spoke(models.hub().ref)
    begun = garden.registry.models.begin("hub", None, "unfinished", {})
    for ref, to, error, words in (
        (begun.ref, "live", UsageError, "is training"),
        ("snapshot:garden/items/1", "live", UsageError, "cannot serve"),
        ("garden:7", "live", NotFoundError, "garden:7"),
        ("garden:1", "live", NotFoundError, "hubspoke index build garden:1"),
        ("hub:1", "Live!", UsageError, "cannot be an alias"),
    ):
        refused(error, words, garden.promote, ref, to=to)
    models.index("garden:1")
    planned = garden.promote("garden:1", dry_run=True)
    assert (planned.after, planned.index, planned.dry_run) == (None, "index:garden/1", True)
    assert (garden.registry.releases.list(), garden.history("garden")) == ([], [])
    garden.promote("garden:1", to="candidate")
    assert garden.promote("garden:1", dry_run=True).after == "release:garden/1"
    models.index("garden:1", space="old")
    for dry_run in (True, False):
        with pytest.raises(IncompatibleError, match="is of embedding space old, garden:1 speaks s"):
            garden.promote("garden:1", dry_run=dry_run)


def test_rollback_returns_to_what_was_before_and_rules_stay_in_force(two_spokes: Workspace, refused: Any) -> None:
    assert two_spokes.promote("garden:1", expected=None).after == "release:garden/1"
    for move, ref in ((two_spokes.promote, "garden:2"), (two_spokes.rollback, "garden")):
        for expected, words in ((None, "nothing"), ("release:garden/7", "release:garden/7")):
            told = f"points at release:garden/1, no longer at {words}" if ref == "garden:2" else "no earlier version"
            refused((LockedError, NotFoundError), told, move, ref, expected=expected)
    refused(NotFoundError, "no earlier version", two_spokes.rollback, "garden", dry_run=True)
    two_spokes.promote("garden:2")
    planned = two_spokes.rollback("garden", dry_run=True)
    assert (planned.before, planned.after, planned.spoke) == ("release:garden/2", "release:garden/1", "garden:1")
    assert two_spokes.registry.resolve("garden").ref == "release:garden/2"
    back = two_spokes.rollback("garden", reason="worse")
    assert (back.action, back.before, back.after) == ("rollback", "release:garden/2", "release:garden/1")
    rules = two_spokes.registry.rules.add("garden", {"hide": ["pot"]})[0].ref
    two_spokes.promote("garden:1", rules=rules)
    with_rules = two_spokes.promote("garden:2")
    assert with_rules.rules == rules
    assert two_spokes.promote("garden:2", rules="none").rules is None
    # A release comes back as it was.
    assert two_spokes.promote(with_rules.after).rules == rules
    assert two_spokes.rollback("garden").rules is None
    refused(UsageError, "serves no shopper by itself", two_spokes.promote, "hub:1", rules=rules)
