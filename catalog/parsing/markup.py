"""HTML in text: tags out, entities decoded; text that only looks like it (`a < b > c`, `5" <10mm`) stays."""

from __future__ import annotations

import html.entities

import polars as pl

# Only tags that exist count. Inline ones vanish, those of lines become a space, those of blocks end a sentence.
INLINE = (
    "a|abbr|acronym|b|bdi|bdo|big|cite|code|data|del|dfn|em|font|i|ins|kbd|mark|q|s|samp|small|span|strike|strong"
    r"|sub|sup|time|tt|u|var|wbr|[a-z]\w*:\w+"
)
LINES = "br|td|th|img|input|button|label|picture|source|select|option|svg|path|col|colgroup|area|map|param|embed|object"
BLOCKS = (
    "address|article|aside|blockquote|body|caption|center|dd|details|dir|div|dl|dt|fieldset|figcaption|figure|footer"
    "|form|h[1-6]|head|header|hr|html|legend|li|link|main|menu|meta|nav|ol|p|pre|section|summary|table|tbody|tfoot"
    "|thead|title|tr|ul|video|audio|iframe|center|base|canvas|font-face|noscript|template"
)
END = r"(?:\s(?:[^<>\"']|\"[^\"<]*\"|'[^'<]*')*|\s[^<>]*)?/?>"
REMOVED = (
    r"(?is)<script\b[^>]*>.*?</script\s*>",
    r"(?is)<style\b[^>]*>.*?</style\s*>",
    r"(?s)<!--.*?-->",
    r"(?i)<!doctype\b[^>]*>",
    r"(?s)<\?xml\b.*?\?>",
    # Scripts and styles that the end of a text cuts off.
    r"(?is)<(?:script|style)\b[^<>]*>[^<]*?[{}=;].*$",
    # What page builders and templates leave: [vc_row], [x width="1/2"], {{widget type="..."}}, {% if a %}.
    r"\[/?(?:[a-z]+_[a-z0-9_]+|gallery|caption|embed|playlist)(?:\s[^\[\]<>]*)?/?\]",
    r"\[[a-z][a-z0-9-]*(?:\s+[a-z_-]+=\"[^\"\[\]]*\")+\s*/?\]",
    r"\{\{[^{}]*\}\}|\{%[^{}]*%\}|%%[A-Za-z_]+%%",
)
CDATA = r"(?s)<!\[CDATA\[(.*?)\]\]>"
ENTITY = r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});"
# A tag that the end of a text cuts off.
CUT = rf"(?i)<(?:{INLINE}|{LINES}|{BLOCKS})\s+[a-z-]+=[^<>]*$"
MARKED = rf"<[A-Za-z/!?]|{ENTITY}|\[/?[a-z]|\{{[{{%]|%%[A-Za-z]"
BREAK = "\x1e"  # stands for the end of a block until it is known what goes before it
ROUNDS = 3  # escaped markup shows itself only once it is unescaped


def strip_markup(strings: pl.Series) -> pl.Series:
    """Text without HTML; rows that hold none keep every character."""
    marked = strings.str.contains(MARKED).fill_null(False)
    if not marked.any():
        return strings
    before = strings.filter(marked)
    after = before
    for _ in range(ROUNDS):
        found = _unescape(_strip_tags(after))
        if found.equals(after):
            break
        after = found
    changed = (before != after).fill_null(False)
    return strings.scatter(marked.arg_true().filter(changed), _tidy(after.filter(changed)))


def _strip_tags(strings: pl.Series) -> pl.Series:
    for pattern in REMOVED:
        strings = strings.str.replace_all(pattern, " ")
    strings = strings.str.replace_all(CDATA, "$1").str.replace(CUT, "")
    for names, stand_in in ((INLINE, ""), (LINES, " "), (BLOCKS, BREAK)):
        strings = strings.str.replace_all(rf"(?i)</?(?:{names}){END}", stand_in)
    return strings


def _unescape(strings: pl.Series) -> pl.Series:
    found = strings.str.extract_all(ENTITY).explode().drop_nulls().unique().to_list()
    return strings.str.replace_many({entity: _character(entity) for entity in found}) if found else strings


def _character(entity: str) -> str:
    """What an entity stands for; itself where nobody knows it."""
    if not entity.startswith("&#"):
        found = html.entities.html5.get(entity[1:], entity)
    else:
        digits = entity[2:-1]
        number = int(digits[1:], 16) if digits[0] in "xX" else int(digits)
        found = chr(number) if 0 < number < 0x110000 and not 0xD800 <= number < 0xE000 else ""
    # A blank that must not break is a blank, and a hyphen that need not be seen is none.
    return found.replace("\u00a0", " ").replace("\u00ad", "")


def _tidy(strings: pl.Series) -> pl.Series:
    """Blocks as sentences and single spaces: taken from rows that held markup only."""
    text = strings.str.replace_all(rf"\s*{BREAK}[\s{BREAK}]*", BREAK).str.strip_chars(BREAK + " \t\r\n")
    text = text.str.replace_all(rf"([.!?:;,…。]){BREAK}", "$1 ").str.replace_all(BREAK, ". ")
    return text.str.replace_all(r"\s+", " ").str.strip_chars()
