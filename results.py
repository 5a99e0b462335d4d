"""What the registry and the workflows hand back: frozen dataclasses whose `to_dict()` is ready for JSON."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, time
from decimal import Decimal
from typing import Any

# Of every JSON document, of the command line and of the service: it rises when a key goes away or changes its meaning.
SCHEMA_VERSION = 1
# Python writes no longer whole numbers.
_MOST_DIGITS = 4_000


class Record:
    """Base of all records and results, each of them a frozen dataclass."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Every field in the order of its declaration as JSON's types, `ref` first where it is a property."""
        names = [field.name for field in fields(self)]  # type: ignore[arg-type]  # every subclass is a dataclass
        if "ref" not in names and hasattr(self, "ref"):
            names.insert(0, "ref")
        return {name: jsonable(getattr(self, name)) for name in names}


def jsonable(value: Any) -> Any:
    """`value` as JSON's types: records as dicts, a number that is none (NaN) as null, and as text what JSON lacks.

    Times are in ISO 8601, bytes in hex after `\\x`, as PostgreSQL writes them.
    """
    if isinstance(value, str | int | None):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return _number(value) if value.is_finite() else None
    if hasattr(value, "to_dict"):
        return value.to_dict() if isinstance(value, Record) else jsonable(value.to_dict())
    if isinstance(value, Mapping):
        return {str(key): jsonable(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [jsonable(inner) for inner in value]
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return f"\\x{bytes(value).hex()}"
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        return jsonable(value.tolist())
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: jsonable(getattr(value, field.name)) for field in fields(value)}
    return str(value)  # paths, UUIDs, addresses, spans of time


def _number(value: Decimal) -> int | float | str:
    """A whole number with all its digits, another one as the nearest float; text where that would be no number."""
    if value == value.to_integral_value() and value.adjusted() < _MOST_DIGITS:
        return int(value)
    nearest = float(value)
    return nearest if math.isfinite(nearest) and nearest != 0 else str(value)


def fingerprint(value: Any) -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
