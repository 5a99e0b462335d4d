from datetime import timedelta

import pytest
from hubspoke.errors import LockedError, NotFoundError, UsageError
from hubspoke.registry.records import Parent


@pytest.fixture
def begin(garden):
    """Begin a spoke of garden from inputs of some fingerprint."""
    return lambda fingerprint="f", seed=7: garden.registry.models.begin(
        "spoke", "garden", fingerprint, {"layers": 2}, seed, {"torch": "2.11"}, "0.1.0"
    )


@pytest.fixture
def finish(garden, stored):
    """Finish a spoke of garden, of version 1 unless another is named."""
    return lambda ref="garden:1", *rest, **given: garden.registry.models.finish(ref, stored("w"), "s", *rest, **given)


def test_a_training_takes_a_number_and_a_result_makes_it_ready(garden, begin, finish) -> None:
    registry, begun = garden.registry, begin()
    assert (begun.ref, begun.version, begun.status, begun.artifact) == ("garden:1", 1, "training", None)
    assert (begun.config, begun.seed, begun.environment) == ({"layers": 2}, 7, {"torch": "2.11"})
    assert registry.models.find_ready("spoke", "garden", "f") is None
    # What killed processes took before counts too.
    parents = [Parent("hub:1", "adapted_from"), Parent("hub:1", "inherits", "text", "it transfers")]
    done = finish(begun.ref, {"epoch": 3}, parents, seconds_before=90.5)
    assert (done.status, done.space_fingerprint, done.summary) == ("ready", "s", {"epoch": 3})
    assert begun.started_at - done.started_at == timedelta(seconds=90.5)
    assert done.finished_at >= begun.started_at and done.seconds >= 90.5
    assert registry.models.find_ready("spoke", "garden", "f") == done == registry.models.get("garden:1")
    edges = [(e.parent, e.relation, e.part, e.reason) for e in registry.lineage.upstream("garden:1").edges]
    assert ("hub:1", "adapted_from", None, None) in edges
    assert ("hub:1", "inherits", "text", "it transfers") in edges


def test_a_training_left_by_a_killed_process_is_taken_over_and_a_forced_one_is_new(garden, begin, finish) -> None:
    first, other, again = begin("f"), begin("g"), begin("f", seed=8)
    assert (first.ref, other.ref, again.ref, again.seed) == ("garden:1", "garden:2", "garden:1", 8)
    assert again.started_at >= first.started_at
    finish()
    assert begin("f").ref == "garden:3"
    newer = finish("garden:3")
    assert garden.registry.models.find_ready("spoke", "garden", "f") == newer
    assert len(garden.registry.models.list("spoke", "garden")) == 3


def test_what_another_process_has_taken_over_is_its_own(garden, begin, finish) -> None:
    models, first = garden.registry.models, begin("f")
    models.expect_own(first)
    second = begin("f")  # as a process that finds the row, and takes the one that began it for dead
    for call in (
        lambda: models.expect_own(first),
        lambda: models.fail(first.ref, "no luck", first.started_at),
        lambda: finish(first.ref, started_at=first.started_at),
    ):
        with pytest.raises(LockedError, match="has taken garden:1 over, which is training; wait for it"):
            call()
    assert models.get(first.ref) == second
    models.expect_own(second)
    assert finish(second.ref, started_at=second.started_at).status == "ready"
    for begun in (first, second):
        with pytest.raises(LockedError, match="garden:1 over, which is ready"):
            models.expect_own(begun)


def test_a_failed_training_keeps_its_number_and_its_error(garden, begin, finish) -> None:
    failed = garden.registry.models.fail(begin().ref, "loss is nan")
    assert (failed.status, failed.error) == ("failed", "loss is nan")
    with pytest.raises(UsageError, match="garden:1 is failed, not in training"):
        finish()
    assert begin().ref == "garden:2"
    assert [m.ref for m in garden.registry.models.list("spoke", "garden", "failed")] == ["garden:1"]


def test_a_result_with_an_unknown_parent_leaves_everything_as_it_was(garden, stored, begin, finish) -> None:
    begin()
    for parent, error, said in (
        (Parent("hub:9", "adapted_from"), NotFoundError, "hub:9"),
        (Parent("hub:1", "likes"), UsageError, "'likes' is no relation; use one of trained_on"),
    ):
        with pytest.raises(error, match=said):
            finish(parents=[parent])
    assert garden.registry.models.get("garden:1").status == "training"
    assert stored("w").digest not in {artifact.digest for artifact in garden.registry.artifacts.list()}


def test_the_hub_has_no_domain_and_a_spoke_has_one(garden) -> None:
    for kind, domain in (("hub", "garden"), ("spoke", None)):
        with pytest.raises(UsageError, match="name a domain for these only"):
            garden.registry.models.begin(kind, domain, "f", {})
    assert [m.ref for m in garden.registry.models.list("hub")] == ["hub:1"]
