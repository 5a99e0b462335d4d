import pytest
from hubspoke.errors import UsageError
from hubspoke.registry.kinds import NodeKind
from hubspoke.registry.references import RESERVED_NAMES, Reference, check_alias, check_domain_name, parse
from hypothesis import given
from hypothesis import strategies as st

PARSED = {
    "hub:4": (Reference(NodeKind.HUB, version=4), "hub:4"),
    "hub@live": (Reference(NodeKind.HUB, alias="live"), "hub@live"),
    "hub": (Reference(NodeKind.HUB, alias="live"), "hub@live"),
    " garden ": (Reference(NodeKind.RELEASE, "garden", alias="live"), "garden@live"),
    "garden:7": (Reference(NodeKind.SPOKE, "garden", 7), "garden:7"),
    "garden@candidate": (Reference(NodeKind.RELEASE, "garden", alias="candidate"), "garden@candidate"),
    "index:garden/12": (Reference(NodeKind.INDEX, "garden", 12), "index:garden/12"),
    "snapshot:garden/items/3": (Reference(NodeKind.ITEM_SNAPSHOT, "garden", 3), "snapshot:garden/items/3"),
    "snapshot:garden/events/latest": (Reference(NodeKind.EVENT_SNAPSHOT, "garden"), "snapshot:garden/events/latest"),
    "release:pet_food/2": (Reference(NodeKind.RELEASE, "pet_food", 2), "release:pet_food/2"),
    "evaluation:garden/5": (Reference(NodeKind.EVALUATION, "garden", 5), "evaluation:garden/5"),
    "domain:garden": (Reference(NodeKind.DOMAIN, "garden"), "domain:garden"),
}


MALFORMED = ["", "Garden", "garden:", "garden:0", "garden:x", "garden@", "garden:1@live", "garden:7\n:8", "../garden"]
MALFORMED += ["index", "index:7", "index:garden", "index:hub/1", "domain:hub", "release:garden/02"]
MALFORMED += ["snapshot:garden/3", "snapshot:garden/orders/3"]


@pytest.mark.parametrize("text", PARSED)
def test_parse(text: str) -> None:
    reference, canonical = PARSED[text]
    assert (parse(text), parse(canonical), str(reference)) == (reference, reference, canonical)


@pytest.mark.parametrize("text", MALFORMED)
def test_what_is_malformed_is_told_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match="is not a reference; write one like hub:4, hub@live, garden"):
        parse(text)


@given(st.from_regex(r"[a-z][a-z0-9_]{0,62}", fullmatch=True), st.integers(1, 999_999_999))
def test_every_domain_name_and_version_round_trips(name: str, version: int) -> None:
    if name in RESERVED_NAMES:
        with pytest.raises(UsageError):
            check_domain_name(name)
        return
    assert check_domain_name(name) == name
    for kind in set(NodeKind) - {NodeKind.HUB, NodeKind.DOMAIN, NodeKind.RERANKER, NodeKind.RULES}:
        reference = Reference(kind, name, version)
        assert parse(str(reference)) == reference


def test_names() -> None:
    assert check_domain_name("a" * 63) == "a" * 63
    for bad in ("", "a" * 64, "9lives", "Pets", "pet-food", "pets/", "péts", "hub"):
        with pytest.raises(UsageError, match="reserved word" if bad == "hub" else "cannot name a domain"):
            check_domain_name(bad)
    assert check_alias("blue-green") == "blue-green"
