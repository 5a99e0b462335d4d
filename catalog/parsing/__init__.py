"""Columns of text or of any dtype turned into the canonical dtypes, whole columns at a time: one kind of value a file.

A parser returns its values and a mask of the rows that held something it could not read, and what else it found out.
"""

from .attributes import attributes, is_bytes
from .chunks import piecewise, repeated
from .currencies import ASSUMED, assumptions, code_of, currency_codes
from .lists import Lists, lists, paths, pictures, string_lists
from .nested import Plain, shown
from .numbers import Money, Numbers, integers, money, numbers
from .texts import Ids, Texts, garbled, identifiers, ids, nulls, text, texts
from .times import DAY_US, Timestamps, timestamps, utc
from .words import Truths, booleans

__all__ = [
    "ASSUMED",
    "DAY_US",
    "Ids",
    "Lists",
    "Money",
    "Numbers",
    "Plain",
    "Texts",
    "Timestamps",
    "Truths",
    "assumptions",
    "attributes",
    "booleans",
    "code_of",
    "currency_codes",
    "garbled",
    "identifiers",
    "ids",
    "integers",
    "is_bytes",
    "lists",
    "money",
    "nulls",
    "numbers",
    "paths",
    "pictures",
    "piecewise",
    "repeated",
    "shown",
    "string_lists",
    "text",
    "texts",
    "timestamps",
    "utc",
]
