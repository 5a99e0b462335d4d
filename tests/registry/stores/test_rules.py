import pytest
from hubspoke.errors import NotFoundError, UsageError


def test_equal_rules_are_one_version_of_a_domain_whatever_the_order_of_keys(garden) -> None:
    made, created = garden.registry.rules.add("garden", {"pin": ["rose"], "hide": ["pot"]})
    assert (made.ref, made.version, created) == ("rules:garden/1", 1, True)
    assert garden.registry.rules.add("garden", {"hide": ["pot"], "pin": ["rose"]}) == (made, False)
    other, _ = garden.registry.rules.add("garden", {})
    assert (other.ref, other.content) == ("rules:garden/2", {})
    assert garden.registry.rules.list("garden") == garden.registry.rules.list() == [made, other]
    assert garden.registry.rules.get("rules:garden/latest") == garden.registry.get("rules:garden/2") == other
    assert garden.registry.lineage.upstream(made.ref).refs == ("domain:garden",)
    with pytest.raises(NotFoundError, match="There is no domain 'pets'"):
        garden.registry.rules.add("pets", {})
    with pytest.raises(UsageError, match="hub:1 is of kind hub; name rules here"):
        garden.registry.rules.get("hub:1")
