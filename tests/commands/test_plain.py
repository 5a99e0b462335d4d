"""What steers a terminal is shown and not sent; JSON and CSV keep what is stored."""

import csv
import io
import json
import subprocess
import sys
import unicodedata
from typing import Any

import pytest
from hubspoke.commands.output import cell, facts, table, tell, write_json, write_text
from hubspoke.commands.plain import escaped_json, visible, visible_lines
from hubspoke.commands.progress import BarProgress, LineProgress
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

SHOWN = {
    "\x1b[2J": r"\x1b[2J",
    "\x1b]0;pwned\x07": r"\x1b]0;pwned\x07",
    "\x9b2J": r"\x9b2J",
    "\x90q\x9c": r"\x90q\x9c",
    "a\nb\tc\rd": r"a\nb\tc\rd",
    "a\x7f\x00b": r"a\x7f\x00b",
    "\u202egnp": r"\u202egnp",
    "\u2066x\u2069": r"\u2066x\u2069",
    "a\u200bb\ufeff": r"a\u200bb\ufeff",
    "a\u2028b\u2029": r"a\u2028b\u2029",
    "\udcff\ud800": r"\udcff\ud800",
    "\U000e0041": r"\U000e0041",
    "Möbel バラ 😀 e\u0301 C:\\Data": "Möbel バラ 😀 e\u0301 C:\\Data",
}
HOSTILE = "Red \x1b[2J\x1b]0;pwned\x07\nfern 9.99\u202e\x9b\udcff"


@pytest.mark.parametrize(("text", "shown"), SHOWN.items(), ids=map(ascii, SHOWN))
def test_what_cannot_be_seen_is_written_as_an_escape(text: str, shown: str) -> None:
    assert (visible(text), cell(text), cell([text])) == (shown, shown, shown)
    assert visible_lines(text) == shown.replace(r"\n", "\n")


@given(st.text(st.characters(codec=None)))
def test_nothing_that_steers_is_left_and_json_means_the_same(text: str) -> None:
    kinds = {unicodedata.category(letter) for letter in visible(text)}
    assert not kinds & {"Cc", "Cs", "Zl", "Zp"}
    assert visible(visible(text)) == visible(text)
    escaped = escaped_json(json.dumps([text], ensure_ascii=False))
    assert json.loads(escaped) == [text]
    assert visible(escaped) == escaped
    assert escaped_json(json.dumps([text])) == json.dumps([text])


def test_a_table_keeps_its_rows_and_its_width() -> None:
    lines = table((HOSTILE, "n"), [(HOSTILE, 1), ("バラ" * 1000, 2), ("e\u0301" * 20, 3)], widest=60).splitlines()
    assert len(lines) == 5
    assert {line for line in lines if visible(line) != line} == set()
    assert max(map(cell_len, lines)) <= 60 + 2 + 1
    assert lines[3].split()[0].endswith("…")
    assert len(facts([("name", HOSTILE)]).splitlines()) == 1


def test_notes_and_stages_are_one_line_each(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    progress, bars = LineProgress(), BarProgress()
    progress.note(HOSTILE)
    progress(HOSTILE, 1, 2)
    bars.note(HOSTILE)
    written = capsys.readouterr().err
    assert len(written.splitlines()) == 3
    assert visible_lines(written) == written
    bars(f"[red]{HOSTILE}", 1, 2)
    bars.note(HOSTILE)
    bars.close()
    drawn = capsys.readouterr().err
    assert "[red]Red" in drawn
    assert visible("\x1b]0;") in drawn.replace("\n", "")
    assert "\x07" not in drawn


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-16", "utf-8"])
def test_every_encoding_takes_every_result(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for write, content in ((write_json, {"title": "バ ü 😀"}), (write_text, "バ ü 😀")):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace"))
        write(content)
        text = raw.getvalue().decode(encoding)
        if isinstance(content, dict):
            assert json.loads(text) == content
        else:
            assert text.startswith("バ ü" if encoding.startswith("utf") else r"\u30d0 ")


def test_hostile_text_of_a_query_stays_exact_in_json_and_csv(garden: Any) -> None:
    query = "SELECT char(27) || '[2J' || char(10) || char(8238) AS a"
    stored = "\x1b[2J\n\u202e"
    assert garden("registry", "sql", query).out.splitlines()[2:] == [r"\x1b[2J\n\u202e"]
    answer = garden("registry", "sql", query, "--json")
    assert answer.json["rows"] == [{"a": stored}]
    assert visible_lines(answer.out) == answer.out
    assert list(csv.reader(io.StringIO(garden("registry", "sql", query, "--csv").out)))[1] == [stored]


def test_hostile_catalogs_names_and_errors(run: Any, home: Any) -> None:
    with (home / "bad.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["item_id", "title", "bra\x1b[2J\nnd"])
        rows.writerows([[f"i{n}\x1b[2J\n\u202e", "Red \x1b]0;x\x07\nfern", "A\x9b"] for n in range(3)])
    for command in (
        ("data", "inspect", "bad.csv"),
        ("domain", "validate", "--items", "bad.csv"),
        ("domain", "add", "garden", "--items", "bad.csv"),
        ("data", "ingest", "garden", "--items", "items.csv"),
        ("data", "diff", "snapshot:garden/items/1", "snapshot:garden/items/2"),
        ("domain", "show", "ga\x1b[2J\nrden"),
        ("domain", "add", "a\x1b[2J\n", "--items", "items.csv"),
        ("data", "ingest", "garden", "--items", "no\x1b[2J\nfile.csv"),
        ("domain", "fly\x1b[2J\n"),
        ("domain", "list", "--colour\x1b[2J\n"),
    ):
        outcome = run(*command)
        for written in (outcome.out, outcome.err):
            assert visible_lines(written) == written, command
        assert outcome.err.count("Error: ") == (outcome.code != 0), command
        assert "[2J" in outcome.out + outcome.err or command[1] == "ingest", command


def test_an_argument_that_is_no_text_is_refused(run: Any) -> None:
    outcome = run("domain", "show", "gar\udcff", "--json")
    assert (outcome.code, outcome.json["error"]["type"]) == (2, "UsageError")
    assert r"'gar\udcff' is no text in utf-8" in outcome.err
    tell("\udcff")


PROGRAM = "import sys; from hubspoke.cli import main; main()"


def test_streams_that_are_full_closed_or_read_by_nobody(home: Any) -> None:
    def ended(shell: str) -> tuple[int, str, str]:
        whole = shell.replace("H ", f'"{sys.executable}" -c "{PROGRAM}" ')
        made = subprocess.run(["bash", "-c", whole], capture_output=True, text=True, timeout=120)
        return made.returncode, made.stdout, made.stderr

    code, out, err = ended("H registry schema v_domains --json 2>&-")
    assert (code, json.loads(out)["schema_version"], err) == (0, 1, "")
    assert ended("H domain show garden 2>/dev/full")[0] == 5
    for lost in (">&-", ">/dev/full", "--json >/dev/full"):
        code, out, err = ended(f"H registry schema v_domains {lost}")
        assert (code, out, err.count("Error: The result could not be written to stdout")) == (1, "", 1)
        assert len(err.splitlines()) == 1
    _, out, err = ended("H registry schema | true; echo ${PIPESTATUS[0]}")
    assert out in ("0\n", "1\n")
    assert "Traceback" not in err
