r"""Text as it may reach a terminal: what steers one, or is not seen on one, stands there as `\x1b`, `\n`, `\u202e`.

Tables, messages and errors are for people and go through here; `--json` and `--csv` keep what is stored, JSON in its
own escapes.
"""

from __future__ import annotations

import re

# Controls (C0, DEL, C1), separators of lines, marks of direction, what has no width, halves of a surrogate pair, tags.
_UNSEEN = (
    r"\x00-\x1f\x7f-\x9f\xad\u061c\u070f\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f"
)
_IN_A_LINE = re.compile(f"[{_UNSEEN}]")
_IN_LINES = re.compile(f"(?!\n)[{_UNSEEN}]")


def visible(text: str) -> str:
    """The text in one line, with everything in it to be seen."""
    return _IN_A_LINE.sub(_escape, text)


def visible_lines(text: str) -> str:
    """The same for text of several lines, whose breaks stay."""
    return _IN_LINES.sub(_escape, text)


def escaped_json(text: str) -> str:
    """A JSON document with the same characters as escapes of JSON, which mean the same."""
    return _IN_LINES.sub(_json_escape, text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
