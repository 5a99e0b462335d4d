"""Tables as plain text: whole, aligned, the same on a terminal and in a pipe."""

from datetime import UTC, datetime

from hubspoke.commands.output import cell, facts, table


def test_a_table_is_aligned_whole_and_plain() -> None:
    long = "[red]" + "x" * 250
    rows = [(long, 7, None), ("バラ", 1234, datetime(2024, 5, 1, tzinfo=UTC))]
    lines = table(("name", "n", "when"), rows).splitlines()
    assert lines[0].split() == ["name", "n", "when"]
    assert set(lines[1]) == {"-", " "}
    assert [line.split() for line in lines[2:]] == [[long, "7", "-"], ["バラ", "1234", "2024-05-01", "00:00"]]
    # Numbers stand to the right; a wide letter takes two columns.
    assert lines[2].index("7") == lines[3].index("1234") + 3 + len("バラ")
    assert "\x1b" not in "".join(lines)
    assert table(("name",), []) == "nothing yet"


def test_cells_and_facts() -> None:
    cells = [(None, "-"), (True, "yes"), (0.123456, "0.1235"), (12345.6, "12,346"), ([], "-"), (["a", None], "a, -")]
    assert [(value, cell(value)) for value, _ in cells] == cells
    assert facts([("name", "garden"), ("left out", None), ("n", 3)]) == "name  garden\nn     3"
