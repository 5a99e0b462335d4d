"""How values are read: moments, list lengths, configs, progress off a terminal."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from hubspoke.cli import cli
from hubspoke.commands import options
from hubspoke.commands.progress import LineProgress
from hubspoke.errors import InvalidDataError, NotFoundError, UsageError
from hypothesis import given
from hypothesis import strategies as st


def test_moments_are_utc_unless_they_say_otherwise() -> None:
    assert options.moment("2017-07-01") == datetime(2017, 7, 1, tzinfo=UTC)
    assert options.moment("2017-07-01T02:00:00+02:00") == datetime(2017, 7, 1, tzinfo=UTC)
    with pytest.raises(click.BadParameter, match="2017-07-01"):
        options.moment("July")


def test_list_lengths() -> None:
    assert (options.cutoffs("10"), options.cutoffs("10, 20,10")) == ((10,), (10, 20))
    for text in ("", "0", "ten", "10,", "-1"):
        with pytest.raises(click.BadParameter):
            options.cutoffs(text)


@pytest.mark.parametrize(
    "path", ["launch new", "recommend", "similar", "search", "explain", "evaluate run", "evaluate compare"]
)
def test_a_number_of_items_is_k_with_one_dash_or_two(path: str) -> None:
    command: click.Command = cli
    for name in path.split():
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), name) or command
    assert [option.opts for option in command.params if option.name in ("k", "ks")] == [["-k", "--k"]]


def test_config_files_settings_over_them_and_maps(tmp_path: Path) -> None:
    path = tmp_path / "spoke.yaml"
    path.write_text("epochs: 3\nloss:\n  kind: softmax\n  negatives: 8\n")
    read = options.read_config(str(path), ("epochs=5", "loss.negatives=16", "name=none of it", "flag=true"))
    loss = {"kind": "softmax", "negatives": 16}
    assert read == {"epochs": 5, "loss": loss, "name": "none of it", "flag": True}
    assert (options.read_config(None, ()), options.read_config(None, ("a.b=1",))) == (None, {"a": {"b": 1}})
    with pytest.raises(UsageError, match="quote it"):
        options.read_config(None, ("a=[",))
    for text, error, said in (
        (None, NotFoundError, "config file"),
        ("- a\n", InvalidDataError, "holds no settings"),
        ("a: [", InvalidDataError, "no valid YAML"),
    ):
        path.unlink() if text is None else path.write_text(text)
        with pytest.raises(error, match=said):
            options.read_config(str(path), ())
    assert (options.read_map(None, "items"), options.read_map("title=name", "items")) == (None, {"title": "name"})


def test_plain_progress_writes_the_ends_and_little_between(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("hubspoke.commands.progress.time.monotonic", lambda: clock[0])
    progress = LineProgress()
    for done in range(101):
        clock[0] += 0.1
        progress("training", done, 100)
    progress("writing", 0, 1)
    progress("writing", 1, 1)
    progress.note("done")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "training: 0/100"
    assert len([line for line in lines if line.startswith("training")]) == 3  # 0, after 5 s, 100
    assert lines[-4:] == ["training: 100/100", "writing ...", "writing: done", "done"]


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
    assert options.names(text) == found


@given(st.lists(st.text(min_size=1), max_size=5))
def test_any_ids_can_be_named(ids: list[str]) -> None:
    text = ",".join('"' + one.replace('"', '""') + '"' for one in ids)
    assert options.names(text) == ids
    assert options.item_ids(text, lambda ids: ids) == ids


def test_a_quote_that_does_not_end() -> None:
    for text in ('"a,b', '"a"b'):
        with pytest.raises(click.UsageError, match="begins with a quote"):
            options.names(text)


def test_an_item_with_a_comma_is_never_taken_for_others_in_silence() -> None:
    def known(ids: Sequence[str]) -> list[str]:
        return [one for one in ids if one in ("a", "a,b", "c, d, e")]

    with pytest.raises(UsageError, match=re.escape("""'a,b' is one item and also reads as 2 of them; write '"a,b"'""")):
        options.item_ids("x,a,b", known)
    with pytest.raises(UsageError, match=re.escape("""or '"c","d","e"' for the others""")):
        options.item_ids("c, d, e", known)
    assert options.item_ids('"a,b",c', known) == ["a,b", "c"]
    assert options.item_ids('"a","b"', known) == ["a", "b"]
    assert options.item_ids("a,c", known) == ["a", "c"]


def test_a_word_of_events_may_hold_what_separates() -> None:
    assert options.read_pairs('"add, to=cart=cart",x=view', "WORD=TYPE") == {"add, to=cart": "cart", "x": "view"}
