"""Policies of transfer: what they name, what follows for a config, and what is said of each part."""

import numpy as np
import pytest
from hubspoke.errors import UsageError
from hubspoke.evaluation.bootstrap import Estimate
from hubspoke.spokes.config import SpokeConfig
from hubspoke.spokes.transfer import PARTS, Policy, effects, paired, verdict, worth_taking
from hypothesis import given
from hypothesis import strategies as st


def test_a_policy_is_written_in_one_order() -> None:
    assert str(Policy.parse("scorer+text")) == "text+scorer" == str(Policy.parse("text + scorer+text"))
    assert str(Policy.parse("none")) == "none" == str(Policy())
    assert Policy.parse("full").parts == PARTS
    assert Policy.parse("text").plus("behaviour").from_sibling == ("behaviour",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("txt", "no part 'txt'"),
        ("", "no part ''"),
        ("text+none", "no part 'none'"),
        ("scorer", "scorer without content"),
        ("fusion+scorer+behaviour", "fusion and scorer without content"),
    ],
)
def test_what_is_no_policy_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Policy.parse(text)


def test_what_follows_for_a_config() -> None:
    def settled(text: str) -> SpokeConfig:
        return SpokeConfig.model_validate(Policy.parse(text).config)

    none = settled("none")
    assert (none.content, none.hub_fusion, none.hub_scorer, none.ids) == ((), False, False, True)
    assert none.attributes is not None  # from scratch, so that items without an ID are told apart
    text = settled("text+scorer")
    assert (text.content, text.hub_fusion, text.hub_scorer, text.attributes) == (("text",), False, True, None)
    assert settled("text+attributes").attributes is not None
    # All that a hub gives is what a config without a policy reads.
    assert settled("text+image+fusion+scorer") == SpokeConfig()


@given(st.sets(st.sampled_from(PARTS)))
def test_a_policy_is_read_as_it_is_written(parts: set[str]) -> None:
    if parts & {"fusion", "scorer"} and not parts & {"text", "image"}:
        with pytest.raises(UsageError):
            Policy.of(parts)
    else:
        policy = Policy.of(parts)
        assert Policy.parse(str(policy)) == policy
        assert all((part in policy) == (part in parts) for part in PARTS)


def values(**users: float) -> dict[str, dict[str, float]]:
    return {"all": dict(users)}


def test_effects_are_paired_by_user_and_slices_without_users_have_none() -> None:
    ours = {"all": {"ann": 0.5, "bob": 0.25, "cid": 1.0}, "cold": {"bob": 0.25}}
    theirs = {"all": {"bob": 0.0, "ann": 0.5}, "warm": {"ann": 0.5}}
    found = effects(ours, theirs)
    assert found["all"].value == 0.125 and found["all"].low == 0.0 and found["all"].high == 0.25
    assert found["warm"] is found["cold"] is None
    cold = [{"cold": {str(n): own for n in range(users)}} for users in (19, 20) for own in (0.5, 0.25)]
    assert effects(*cold[:2])["cold"] is None  # too few
    assert effects(*cold[2:])["cold"] == Estimate(0.25, 0.25, 0.25)
    np.testing.assert_array_equal(paired(ours, theirs), [[0.5, 0.25], [0.5, 0.0]])


def test_what_is_expected_stays_unless_it_hurts_and_anything_else_has_to_help() -> None:
    start = values(a=0.0, b=0.0, c=0.0, d=0.0)
    # Mean .05, standard error .15 / 2 = .05 to .1; mean .2 with the same spread.
    level, better = values(a=0.2, b=-0.1, c=0.2, d=-0.1), values(a=0.35, b=0.05, c=0.35, d=0.05)
    worse = values(a=-0.35, b=-0.05, c=-0.35, d=-0.05)
    assert [worth_taking(own, start, expected=True) for own in (worse, level, better)] == [False, True, True]
    assert [worth_taking(own, start, expected=False) for own in (worse, level, better)] == [False, False, True]
    # What is paid by cold items is not taken unless it is expected.
    users = [str(n) for n in range(40)]
    start = {"all": dict.fromkeys(users, 0.5), "cold": dict.fromkeys(users[:20], 0.5)}
    paid = {
        "all": {user: 0.4 if n < 20 else 0.9 for n, user in enumerate(users)},
        "cold": dict.fromkeys(users[:20], 0.4),
    }
    assert [worth_taking(paid, start, expected) for expected in (True, False)] == [True, False]
    assert worth_taking({"all": paid["all"]}, start, expected=False)
    # Without anybody to judge, what is expected.
    assert [worth_taking({}, {}, expected) for expected in (True, False)] == [True, False]


def test_the_verdict_in_words() -> None:
    helps, hurts, level = (
        Estimate(0.0213, 0.015, 0.028),
        Estimate(-0.004, -0.007, -0.001),
        Estimate(0.001, -0.002, 0.004),
    )
    assert verdict("text", True, {"cold": helps, "warm": level}) == (
        "text, inherited: helps cold items (+.0213 [.0150, .0280]), neutral on warm items (+.0010 [-.0020, .0040])"
    )
    assert verdict("image", False, {"cold": None, "warm": hurts}) == (
        "image, left out: too few cold items to tell by, negative transfer on warm items (-.0040 [-.0070, -.0010])"
    )
    # An interval that begins at zero shows nothing.
    assert "neutral on warm" in verdict("text", True, {"warm": Estimate(0.1, 0.0, 0.2)})
