"""What databases, spreadsheets and languages write where a value is missing."""

# In lower case, whatever the case in which they stand.
NULL_WORDS = frozenset(
    (
        "null", "none", "nan", "nat", "n/a", "#n/a", "#na", "#null!", "#ref!", "#value!", "#name?", "#div/0!", "\\n",
        "(null)", "<null>", "<na>", "[null]", "undefined", "(none)", "<none>", "-", "--", "---", "–", "—",
    )
)  # fmt: skip
# In this case only: other words are written so as well (Na, sodium).
EXACT_WORDS = frozenset(("NA",))
LONGEST = max(len(word.encode()) for word in NULL_WORDS | EXACT_WORDS)


def is_absent(word: str) -> bool:
    """Whether a word stands for nothing."""
    return word in EXACT_WORDS or word.lower() in NULL_WORDS
