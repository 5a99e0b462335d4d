"""Values of a database as JSON, CSV and cells of a table: none is lost, and the three forms agree."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from ..results import jsonable


def exact(value: Any) -> Any:
    """A value as JSON's types; NaN and the infinities as text, since null means something else in a database."""
    if isinstance(value, Decimal) and not value.is_finite():
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(Decimal(value))
    if isinstance(value, Mapping):
        return {str(key): exact(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [exact(inner) for inner in value]
    return jsonable(value)


def plain_text(value: Any) -> str | None:
    """A value as text with every digit of it: lists, objects and truth as JSON writes them; None stays."""
    if isinstance(value, Decimal) and value.is_finite():
        return f"{value:f}"
    written = exact(value)
    return written if isinstance(written, str | None) else json.dumps(written, ensure_ascii=False)


def csv_text(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows as CSV under a header, without an end of line after the last one."""
    stream = io.StringIO()
    plain, quoted = (
        csv.writer(stream, lineterminator="\n", quoting=quoting) for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
    )
    for row in (columns, *rows):
        texts = [plain_text(value) for value in row]
        # The writer takes a lone carriage return for plain text, and readers for the end of a row.
        (quoted if any("\r" in (text or "") for text in texts) else plain).writerow(texts)
    return stream.getvalue().removesuffix("\n")


def table_value(value: Any) -> Any:
    """What a cell of a table is made of: what tables have a way to write, and text for all else."""
    finite = isinstance(value, float) and math.isfinite(value)
    return value if finite or isinstance(value, str | int | datetime | None) else plain_text(value)
