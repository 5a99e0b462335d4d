from __future__ import annotations

from datetime import timedelta

import pytest
from hubspoke.errors import NotFoundError, UsageError
from hubspoke.registry.records import Parent
from hubspoke.registry.store import Registry


def begin(registry: Registry, fingerprint: str, seed: int = 7):
    return registry.models.begin("spoke", "garden", fingerprint, {"layers": 2}, seed, {"torch": "2.11"}, "0.1.0")


def test_a_training_takes_a_number_and_a_result_makes_it_ready(garden, stored) -> None:
    registry = garden.registry
    begun = begin(registry, "f")
    assert (begun.ref, begun.version, begun.status, begun.artifact) == ("garden:1", 1, "training", None)
    assert (begun.config, begun.seed, begun.environment) == ({"layers": 2}, 7, {"torch": "2.11"})
    assert registry.models.find_ready("spoke", "garden", "f") is None
    parents = [Parent("hub:1", "adapted_from"), Parent("hub:1", "inherits", "text", "it transfers")]
    done = registry.models.finish(begun.ref, stored("w"), "space", {"epoch": 3}, parents)
    assert (done.status, done.space_fingerprint, done.summary) == ("ready", "space", {"epoch": 3})
    assert done.finished_at >= done.started_at
    assert registry.models.find_ready("spoke", "garden", "f") == done == registry.models.get("garden:1")
    edges = [(e.parent, e.relation, e.part, e.reason) for e in registry.lineage.upstream("garden:1").edges]
    assert ("hub:1", "adapted_from", None, None) in edges
    assert ("hub:1", "inherits", "text", "it transfers") in edges


def test_a_training_left_by_a_killed_process_is_taken_over(garden) -> None:
    first = begin(garden.registry, "f")
    other = begin(garden.registry, "g")
    again = begin(garden.registry, "f", seed=8)
    assert (first.ref, other.ref, again.ref, again.seed) == ("garden:1", "garden:2", "garden:1", 8)
    assert again.started_at >= first.started_at
    assert len(garden.registry.models.list("spoke", "garden")) == 2


def test_what_a_training_took_before_a_kill_counts(garden, stored) -> None:
    begun = begin(garden.registry, "f")
    done = garden.registry.models.finish(begun.ref, stored("w"), "s", seconds_before=90.5)
    assert begun.started_at - done.started_at == timedelta(seconds=90.5)
    assert done.seconds >= 90.5


def test_a_forced_training_of_the_same_inputs_is_a_new_version(garden, stored) -> None:
    registry = garden.registry
    registry.models.finish(begin(registry, "f").ref, stored("w"), "s")
    assert begin(registry, "f").ref == "garden:2"
    newer = registry.models.finish("garden:2", stored("w"), "s")
    assert registry.models.find_ready("spoke", "garden", "f") == newer


def test_a_failed_training_keeps_its_number_and_its_error(garden, stored) -> None:
    registry = garden.registry
    failed = registry.models.fail(begin(registry, "f").ref, "loss is nan")
    assert (failed.status, failed.error) == ("failed", "loss is nan")
    with pytest.raises(UsageError, match="garden:1 is failed, not in training"):
        registry.models.finish("garden:1", stored("w"), "s")
    assert begin(registry, "f").ref == "garden:2"
    assert [m.ref for m in registry.models.list("spoke", "garden", "failed")] == ["garden:1"]


def test_a_result_with_an_unknown_parent_leaves_everything_as_it_was(garden, stored) -> None:
    registry = garden.registry
    begin(registry, "f")
    with pytest.raises(NotFoundError, match="hub:9"):
        registry.models.finish("garden:1", stored("w"), "s", parents=[Parent("hub:9", "adapted_from")])
    assert registry.models.get("garden:1").status == "training"
    assert stored("w").digest not in {artifact.digest for artifact in registry.artifacts.list()}


def test_an_unknown_relation_is_refused(garden, stored) -> None:
    begin(garden.registry, "f")
    with pytest.raises(UsageError, match="'likes' is no relation; use one of trained_on"):
        garden.registry.models.finish("garden:1", stored("w"), "s", parents=[Parent("hub:1", "likes")])


def test_the_hub_has_no_domain_and_a_spoke_has_one(garden) -> None:
    for kind, domain in (("hub", "garden"), ("spoke", None)):
        with pytest.raises(UsageError, match="name a domain for these only"):
            garden.registry.models.begin(kind, domain, "f", {})
    assert [m.ref for m in garden.registry.models.list("hub")] == ["hub:1"]
