"""Whatever stands on the command line or in a config: a result, or one sentence and an exit code of the contract."""

from __future__ import annotations

import json
from typing import Any

import click
import pytest
from hubspoke.cli import cli
from hubspoke.commands.groups import every_command
from hypothesis import given
from hypothesis import strategies as st

# `serve` and `console` do not end, `demo` takes minutes.
ENDLESS = ("serve", "console", "demo")
# With valid arguments these take seconds: they are asked what they would do.
LONG = ("spoke train", "hub train", "rerank train", "launch new", "launch refresh", "index build")
COMMANDS = {
    path: command
    for path, command in every_command(cli)
    if not isinstance(command, click.Group) and path not in ENDLESS
}
# No text begins with `/` or holds `..`: some of the options write files.
SAFE = st.text(st.characters(exclude_characters="/~", exclude_categories=["Cs"]), max_size=8)
HOSTILE = [
    "", " ", "-", "--", "-1", "0", "1e999", "nan", "inf", "null", "None", "true", "[]", "{}", "a=b", "=", "=1", "a=",
    ",", ",,", "garden", "pots", "hub", "hub:1", "garden:1", "index:garden/1", "release:garden/1",
    "snapshot:garden/items/1", "snapshot:garden/events/1", "rules:garden/1", "garden@live", "hub@live", "none",
    "nothing:1", "garden:0", "garden:-1", "garden:99999999999999999999", "garden:1.0", "garden:١", "garden:²",
    "garden:1:1", "garden@", "@live", ":1", "index:", "index:garden/", "snapshot:garden/items/", "i1", "i3,i5", "i99",
    "items.csv", "events.csv", "garden.zip", "missing.csv", ".hubspoke", ".hubspoke/registry.db", "missing/deep",
    "ndcg@10=0.1", "ndcg@10=nan", "ndcg@0=1", "cold:ndcg@10=1", "hr@10=2", "title=name", "item_id=title",
    "2026-05-01", "2026-13-01", "0001-01-01", "9999-12-31T23:59:59+23:59", "10,20", "0,1", "price<=5", "price<=",
    "brand in ('a'", "not", "a and", "price<=1e999", "SELECT 1", "SELECT", "DROP TABLE nodes", "'", '"', "%s", "%",
    "%00", "\n", "\t", "\x1b[2J", "é", "\u202e", "\U0001f600", "a" * 5000, "a.b.c=1", "training.max_epochs=0",
    "seed=1e400", "seed=[", "transformer.dimension=-1", "sqlite:///x/y.db", "sqlite://", "postgresql://127.0.0.1:1/x",
    "mysql://x/y", "http://127.0.0.1:1/x.csv", "*", "[", "[!", "**", "\ud800", "con", "COM1",
]  # fmt: skip
TEXTS = st.sampled_from(HOSTILE) | SAFE
# What fits, by the name of the parameter, so that commands get further than their first look.
FITTING = {
    "domain": ["garden", "pots"], "name": ["garden", "new"], "scope": ["garden", "hub"],
    "old": ["snapshot:garden/items/1"], "new": ["snapshot:pots/items/1"],
    "ref": ["garden", "garden:1", "index:garden/1", "release:garden/1", "hub:1", "pots"],
    "refs": ["garden:1", "pots", "hub:1"], "a": ["garden:1"], "b": ["hub:1"],
    "items": ["items.csv", "snapshot:garden/items/1"], "events": ["events.csv", "snapshot:garden/events/1"],
    "catalog": ["items.csv"], "files": ["items.csv", "events.csv"], "session": ["i3,i5", "i3"], "user": ["u1"],
    "item": ["i3", "i5"], "text": ["red rose"], "model": ["garden:1", "hub:1", "popularity"],
    "models": ["garden:1,popularity"], "query": ["SELECT * FROM nodes"], "file": ["garden.zip", "new.db"],
    "hub": ["hub:1"], "filter": ["price<=9 and brand in ('brand 1')"], "filter_text": ["price<=9"], "ks": ["1,5"],
    "output": ["out"], "minimums": ["hr@10=0.1"], "spoke": ["garden:1"], "parent": ["garden:1"],
    "transfer": ["none", "text+image"], "rules": ["none", "rules:garden/1"], "alias": ["live"],
    "settings": ["seed=3", "training.max_epochs=1", "fresh_days=3"], "config": ["config.json"], "plot": ["plot.png"],
    "views": ["models"], "item_map": ["title=title"], "event_type": ["click"], "event_types": ["view=click"],
    "columns": ["a,b,c"], "encoding": ["cp1252"], "test_from": ["2026-05-08"], "since": ["2026-05-03"],
    "domains": ["garden"], "scopes": ["read"], "candidate": ["release:garden/1"], "window": ["7d"],
}  # fmt: skip
NUMBERS = st.sampled_from(
    ["0", "1", "2", "-1", "1.5", "nan", "inf", "-inf", "1e9", "1000000", "99999999999999999999", "x", ""]
)
GLOBALS = ("as_json", "quiet", "debug", "registry", "workspace", "help")


def value(param: click.Parameter) -> st.SearchStrategy[str]:
    """A value for an argument or option: often of its kind, often not."""
    if isinstance(param.type, click.Choice):
        return st.sampled_from([str(choice) for choice in param.type.choices]) | TEXTS
    if isinstance(param.type, click.types.IntRange | click.types.FloatRange | click.types.IntParamType):
        return NUMBERS
    fitting = FITTING.get(str(param.name))
    # As often as anything else: `|` draws from each side alike.
    return st.sampled_from(fitting) | TEXTS if fitting else TEXTS


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A command with its required parts, some of its options, and now and then something that does not belong."""
    path = draw(st.sampled_from(sorted(COMMANDS)))
    command, line = COMMANDS[path], path.split()
    arguments: list[str] = []
    for param in command.params:
        if param.name in GLOBALS:
            continue
        if isinstance(param, click.Argument):
            count = draw(st.integers(1, 2)) if param.nargs == -1 else 1
            arguments += [draw(value(param)) for _ in range(count if draw(st.integers(0, 9)) else 0)]
        elif isinstance(param, click.Option) and (param.required or draw(st.integers(0, 5)) == 0):
            name = draw(st.sampled_from(param.opts))
            line += [name] if param.is_flag else [name, draw(value(param))]
    if path in LONG:
        line.append("--dry-run")
    if draw(st.booleans()):
        line.append("--json")
    if not draw(st.integers(0, 9)):
        line += [draw(st.sampled_from(["--registry", "--workspace"])), draw(TEXTS)]
    if not draw(st.integers(0, 19)):
        line.append(draw(TEXTS))
    return [*line, *(["--", *arguments] if draw(st.booleans()) else arguments)]


@given(line=command_lines())
def test_any_command_line_ends_well_or_in_one_sentence(shop: Any, line: list[str]) -> None:
    shop(*line)


PIECES = [
    "garden", "pots", "hub", "index", "release", "snapshot", "rules", "eval", "items", "events", "live", "candidate",
    ":", "@", "/", "-", "1", "2", "0", "01", "+1", "²", "١", "9" * 30, " ", "", "%", "latest", "\x00", "é",
]  # fmt: skip
READERS = (
    ("lineage", "show"), ("lineage", "impact"), ("recommend", "--session", "i3"), ("spoke", "show"), ("hub", "show"),
    ("index", "check"), ("index", "show"), ("rerank", "show"), ("promote", "--dry-run"),
    ("bundle", "export", "--dry-run"), ("spoke", "train", "garden", "--dry-run", "--from"),
    ("data", "diff", "snapshot:garden/items/1"), ("history",), ("rollback", "--dry-run"),
    ("index", "build", "--dry-run"), ("launch", "report"), ("lineage", "diff", "garden:1"),
)  # fmt: skip


@given(pieces=st.lists(st.sampled_from(PIECES), max_size=6), reader=st.sampled_from(READERS))
def test_any_reference_is_found_or_told(shop: Any, pieces: list[str], reader: tuple[str, ...]) -> None:
    shop(*reader, "".join(pieces), "--json")


CONFIGURED = {
    "spoke": ("spoke", "train", "garden", "--dry-run"),
    "hub": ("hub", "train", "--dry-run"),
    "rerank": ("rerank", "train", "garden", "--dry-run"),
    "rules": ("rules", "set", "garden", "--dry-run"),
    "launch": ("launch", "new", "other", "--catalog", "items.csv", "--dry-run"),
}
KEYS = [
    "seed", "model", "transformer", "dimension", "blocks", "heads", "dropout", "training", "max_epochs", "batch_size",
    "negatives", "learning_rate", "min_item_count", "statistics", "mixture", "text", "image", "name", "weights",
    "contrastive", "steps", "fusion", "encoders", "adapter", "rank", "trees", "hide_items", "pin", "boost",
    "fresh_days", "max_per_brand", "min_margin", "", "x", "item",
]  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), SAFE,
    st.sampled_from(["tiny", "i1", "auto", "1", "nan", "🙂"])
)  # fmt: skip
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=8
)  # fmt: skip


@given(
    what=st.sampled_from(sorted(CONFIGURED)),
    content=st.dictionaries(st.sampled_from(KEYS), TREES, max_size=4) | TREES,
    cut=st.integers(0, 20),
)
def test_any_config_is_taken_or_told(shop: Any, what: str, content: Any, cut: int) -> None:
    text = json.dumps(content)
    # A file that was cut off, now and then.
    (shop.folder / "config.json").write_text(text[: len(text) // 2] if not cut else text, encoding="utf-8")
    shop(*CONFIGURED[what], "--config", "config.json", "--json")


@pytest.mark.parametrize("line", [["domain", "list", "--json"], ["recommend", "garden", "--session", "i3", "--json"]])
def test_the_shop_answers(shop: Any, line: list[str]) -> None:
    assert shop(*line).code == 0
