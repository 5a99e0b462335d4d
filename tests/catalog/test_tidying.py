from pathlib import Path

import pytest
from hubspoke.catalog.tables import load_table


@pytest.mark.parametrize(
    ("text", "rows", "note"),
    [
        ("id,name\n1,a\nid,name\n2,b\n", [("1", "a"), ("2", "b")], "1 rows only repeat the header and were left out"),
        ("id,name,\n1,a,\nid,name,\n", [("1", "a")], "1 rows only repeat the header and were left out"),
        ("id,name\nid,b\n", [("id", "b")], None),
        (
            'id,name\n"=""007""",="a"\n=1+1,b\n',
            [("007", "a"), ("=1+1", "b")],
            '2 cells are formulas of a spreadsheet such as ="007"; they were read as the text in them',
        ),
    ],
)
def test_what_is_no_row_and_what_is_no_formula(
    tmp_path: Path, text: str, rows: list[tuple[str, str]], note: str | None
) -> None:
    (tmp_path / "t.csv").write_text(text)
    table = load_table(tmp_path / "t.csv")
    assert table.frame.rows() == rows
    assert table.rows.to_list()[-1] == len(text.splitlines()) - 1 - text.endswith("id,name,\n")
    assert (note in table.notes) is (note is not None)


def test_signs_that_nobody_sees_are_no_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\ufeff\ufeffid,na\u200bme\n1,a\n")
    assert load_table(tmp_path / "t.csv").frame.columns == ["id", "name"]
