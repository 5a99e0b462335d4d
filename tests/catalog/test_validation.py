import json

import polars as pl
import pytest
from hubspoke.catalog.intake import Intake
from hubspoke.catalog.validation import ValidationFailedError, ValidationReport
from hubspoke.errors import InvalidDataError


def intake(rows: int) -> Intake:
    return Intake(pl.DataFrame({"item_id": pl.int_range(rows, eager=True)}), "items", None, "fail")


def findings() -> Intake:
    found = intake(3)
    values = pl.Series(["a", "b", "c"])
    found.add("bad_x", pl.Series([False, True, True]), "x {value} is bad; mend it.", column="x", values=values)
    found.add("odd_y", pl.Series([True, False, False]), "y is odd; look.", severity="warning", drop=False)
    return found


def report(found: Intake, **changes: object) -> ValidationReport:
    return ValidationReport("t.csv", tuple(found.groups), rows_in=3, rows_out=1, fatal=tuple(found.fatal), **changes)  # type: ignore[arg-type]


def test_problems_by_row_with_their_values() -> None:
    problems = report(findings()).problems
    assert [(p.row, p.code, p.severity, p.value) for p in problems] == [
        (1, "odd_y", "warning", None),
        (2, "bad_x", "error", "b"),
        (3, "bad_x", "error", "c"),
    ]
    assert problems[1].message == "x 'b' is bad; mend it."
    assert findings().dropped.to_list() == [False, True, True]


def test_text_groups_by_code_and_caps_the_rows() -> None:
    assert report(findings(), notes=("times are days",)).to_text(limit=1).splitlines() == [
        "t.csv: 3 rows read, 1 kept, 2 errors, 1 warnings",
        "error: bad_x x 2 (rows 2, ...): x 'b' is bad; mend it.",
        "warning: odd_y x 1 (rows 1): y is odd; look.",
        "note: times are days",
    ]


def test_json_is_capped_but_counts_everything() -> None:
    content = json.loads(json.dumps(report(findings()).to_json(limit=1)))
    assert content["counts"] == {"bad_x": 2, "odd_y": 1}
    assert [p["row"] for p in content["problems"]] == [1, 2]
    assert content["ok"] is False


def test_a_snapshot_keeps_the_first_rows_of_each_kind_of_problem() -> None:
    found = findings()
    found.add_rows("many", [(row, "long" * 100 if row else "\0", "") for row in range(8)], "{value} is one of many.")
    kept = json.loads(json.dumps(report(found).kept()))
    assert kept["counts"] == {"bad_x": 2, "many": 8, "odd_y": 1}
    assert [(kind["severity"], kind["code"], kind["column"], kind["count"]) for kind in kept["problems"]] == [
        ("error", "many", None, 8),
        ("error", "bad_x", "x", 2),
        ("warning", "odd_y", None, 1),
    ]
    many, bad, odd = (kind["rows"] for kind in kept["problems"])
    assert [row["row"] for row in many] == [0, 1, 2, 3, 4]
    assert many[0]["value"] == "\u2400" and len(many[1]["value"]) == 240 and len(many[1]["message"]) < 160
    assert bad == [
        {"row": row, "value": value, "message": f"x '{value}' is bad; mend it."} for row, value in ((2, "b"), (3, "c"))
    ]
    assert odd == [{"row": 1, "value": None, "message": "y is odd; look."}]


def test_a_row_that_is_kept_names_its_file_where_there_are_several() -> None:
    kept = report(findings(), files=(("a.csv", 0), ("b.csv", 2))).kept()
    assert [(row["file"], row["row"]) for row in kept["problems"][0]["rows"]] == [("a.csv", 2), ("b.csv", 1)]


def test_errors_raise_under_fail_only() -> None:
    with pytest.raises(
        ValidationFailedError, match=r"^t.csv cannot be used: 2 x bad_x \(first: row 2: .*skip\.$"
    ) as caught:
        report(findings()).raise_if_errors()
    assert isinstance(caught.value, InvalidDataError)
    assert caught.value.report.count("error") == 2
    report(findings(), on_error="skip").raise_if_errors()


def test_a_fatal_problem_raises_under_skip_too() -> None:
    found = findings()
    found.stop("nothing_left", "no row is left; give one.")
    with pytest.raises(ValidationFailedError, match=r"cannot be used \(2 x bad_x\): no row is left; give one\.$"):
        report(found, on_error="skip").raise_if_errors()


def test_unreadable_rows_are_not_reported_twice() -> None:
    found = intake(2)
    found.faults = {"bad_json": {2: "{"}}
    found.add_faults()
    found.add("missing_id", pl.Series([True, True]), "no id; add it.")
    assert [(p.row, p.code) for p in report(found).problems] == [(1, "missing_id"), (2, "bad_json")]


def test_a_million_problems_stay_small_and_fast() -> None:
    n = 1_000_000
    found = intake(n)
    found.add("bad", pl.repeat(True, n, dtype=pl.Boolean, eager=True), "bad; mend it.")
    assert len(report(found).to_json()["problems"]) == 100
    assert report(found).counts == {"bad": n}


def test_long_values_are_shown_in_part_and_kept_whole() -> None:
    found, long = intake(2), "x" * 5000
    found.add("bad_x", pl.Series([True, True]), "x {value} is bad; mend it.", column="x", values=pl.Series([long] * 2))
    problem = report(found).problems[0]
    assert (problem.value, problem.message) == (long, f"x {'x' * 117 + '...'!r} is bad; mend it.")
    line = report(found).to_text().splitlines()[1]
    assert line.startswith(f"error: bad_x x 2 (rows 1, 2) [{'x' * 117 + '...'!r} x 2]: x 'xxx") and len(line) < 400
