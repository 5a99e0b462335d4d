"""How values are read: moments, list lengths, configs, progress off a terminal."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from hubspoke.cli import cli
from hubspoke.commands import options
from hubspoke.commands.progress import LineProgress
from hubspoke.errors import InvalidDataError, NotFoundError, UsageError


def test_moments_are_utc_unless_they_say_otherwise() -> None:
    assert options.moment("2017-07-01") == datetime(2017, 7, 1, tzinfo=UTC)
    assert options.moment("2017-07-01T02:00:00+02:00") == datetime(2017, 7, 1, tzinfo=UTC)
    with pytest.raises(click.BadParameter, match="2017-07-01"):
        options.moment("July")


def test_spans_of_time() -> None:
    spans = {"7d": timedelta(days=7), "1.5 H": timedelta(minutes=90), "90m": timedelta(minutes=90)}
    spans |= {"30s": timedelta(seconds=30), "2w": timedelta(days=14)}
    assert {text: options.duration(text) for text in spans} == spans
    seconds = {604_800.0: "7d", 5_400.0: "90m", 7_200.0: "2h", 0.25: "0.25s", 90_061.0: "90061s"}
    assert {own: options.span(own) for own in seconds} == seconds
    assert all(options.duration(text).total_seconds() == own for own, text in seconds.items())
    for text in ("", "7", "d", "-1d", "1y", "1e3s", "٣d"):
        with pytest.raises(click.BadParameter, match="7d, 12h, 90m or 30s"):
            options.duration(text)


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


def test_a_word_of_events_may_hold_what_separates() -> None:
    assert options.read_pairs('"add, to=cart=cart",x=view', "WORD=TYPE") == {"add, to=cart": "cart", "x": "view"}
