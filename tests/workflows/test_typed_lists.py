"""Lists that people type on one line: commas, quotes, and what could be read in two ways."""

import re
from collections.abc import Sequence

import pytest
from hubspoke.errors import UsageError
from hubspoke.workflows.typed_lists import item_ids, names
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, []),
        ("a, b,,c", ["a", "b", "c"]),
        ('"a,b",c', ["a,b", "c"]),
        ('c , "a,b" ', ["c", "a,b"]),
        ('"5"" pot","say ""a, b"""', ['5" pot', 'say "a, b"']),
        ('5" pot,x', ['5" pot', "x"]),
        ('" a ",b', [" a ", "b"]),
        ("hub:4,a=b,c/d,@e,-5,é\\n", ["hub:4", "a=b", "c/d", "@e", "-5", "é\\n"]),
        ("a\nb,c", ["a\nb", "c"]),
    ],
)
def test_lists_with_commas_and_values_in_quotes(text: str | None, found: list[str]) -> None:
    assert names(text) == found


@given(st.lists(st.text(min_size=1), max_size=5))
def test_any_ids_can_be_named(ids: list[str]) -> None:
    text = ",".join('"' + one.replace('"', '""') + '"' for one in ids)
    assert names(text) == ids
    assert item_ids(text, lambda ids: ids) == ids


def test_a_quote_that_does_not_end() -> None:
    for text in ('"a,b', '"a"b'):
        with pytest.raises(UsageError, match="begins with a quote"):
            names(text)


def test_an_item_with_a_comma_is_never_taken_for_others_in_silence() -> None:
    def known(ids: Sequence[str]) -> list[str]:
        return [one for one in ids if one in ("a", "a,b", "c, d, e")]

    with pytest.raises(UsageError, match=re.escape("""'a,b' is one item and also reads as 2 of them; write '"a,b"'""")):
        item_ids("x,a,b", known)
    with pytest.raises(UsageError, match=re.escape("""or '"c","d","e"' for the others""")):
        item_ids("c, d, e", known)
    assert item_ids('"a,b",c', known) == ["a,b", "c"]
    assert item_ids('"a","b"', known) == ["a", "b"]
    assert item_ids("a,c", known) == ["a", "c"]
