"""`hubspoke recommend`, `similar` and `search`: what a category's live release, or any version, shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..workflows.typed_lists import item_ids
from .call import Call, command
from .options import filtered, how_many, spread_out
from .output import cell, fitted, table

if TYPE_CHECKING:
    from ..workflows.answers import Answer, Recommendations, SearchResults
    from ..workflows.workspace import Workspace

_WIDEST_NAME = 60  # of ids, titles and what else shops write
HEADERS = ("rank", "item_id", "title", "score", "brand", "category", "price", "cold", "pinned")


@command(example="hubspoke recommend garden --session 1041,977 -k 5")
@click.argument("ref")
@click.option(
    "--session", metavar="A,B,C", help="Item ids of the session, oldest first; one with a comma in it in double quotes."
)
@click.option("--user", metavar="ID", help="A known user: their recorded history is the session.")
@how_many(10)
@click.option("--exclude-seen", is_flag=True, help="Leave out items of the session.")
@spread_out
@filtered
def recommend(call: Call, ref: str, session: str | None, user: str | None, **asked: Any) -> None:
    """Recommend items after a session or to a user; with neither, what is popular with newcomers or new.

    A user who has no session here but events in other categories is shown the same, and where they are known is said.
    Items of one text, one picture or one group id are one product, which is shown once while there are others.
    """
    if session is not None and user is not None:
        raise UsageError("--session and --user both say what was seen; give one of them.")
    workspace = call.workspace()
    result = workspace.recommend(ref, items_of_session(workspace, ref, session), user, **asked)
    _note_behind(call, result)
    call.show(result, recommended)


def items_of_session(workspace: Workspace, ref: str, session: str | None) -> list[str]:
    """The item ids of `--session`, held against the catalog where a comma may be part of one."""

    def known(ids: Sequence[str]) -> Sequence[str]:
        from ..workflows.known_items import known_items

        return known_items(workspace, ref, ids)

    return item_ids(session, known)


@command(example="hubspoke similar garden 1041")
@click.argument("ref")
@click.argument("item")
@how_many(10)
@filtered
def similar(call: Call, ref: str, item: str, k: int, filter: str | None) -> None:
    """The items nearest to an item."""
    result = call.workspace().similar(ref, item, k, filter)
    _note_behind(call, result)
    call.show(result, recommended)


@command(
    example=("hubspoke search garden 'hose for a balcony' -k 5", "hubspoke search garden 'in green' --image hose.jpg")
)
@click.argument("ref")
@click.argument("text", required=False)
@click.option("--image", "picture", metavar="FILE", help="A picture of what is looked for, alone or beside the words.")
@how_many(10)
@filtered
def search(call: Call, ref: str, text: str | None, picture: str | None, k: int, filter: str | None) -> None:
    """The items most like a description, a picture, or both.

    By what items are, in the hub's space: words are compared with texts and the picture with pictures.
    """
    result = call.workspace().search(ref, text, picture, k, filter)
    _note_behind(call, result)
    call.show(result, searched)


def _note_behind(call: Call, result: Answer | SearchResults) -> None:
    """Say once what lists cannot know of the newest catalog."""
    if (behind := result.behind) is not None:
        counts = {"new and in no list": behind.new, "ranked by what they were before": behind.outdated}
        found = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
        call.note(f"{result.index} is behind {behind.catalog} (items: {found}); bring it in with `{behind.next}`.")


def searched(result: SearchResults) -> str:
    """What was looked for and what is like it."""
    wanted = " and ".join(filter(None, (result.text and f"'{cell(result.text)}'", result.picture)))
    lines = [f"Served by {result.served_by}, most like {wanted}."]
    lines += [f"Rules: {result.rules}."] if result.rules else []
    return "\n".join([*lines, "", _listed(result.items)])


def recommended(result: Recommendations) -> str:
    """What was asked and what is recommended."""
    lines = answered(result)
    if result.known_from:
        known = ", ".join(f"{own.domain} ({own.events} events)" for own in result.known_from)
        lines.append(f"The shopper is known from {known}; that has no part in this list.")
    return "\n".join([*lines, "", _listed(result.items)])


def _listed(items: Sequence[Mapping[str, Any]]) -> str:
    """A list of items, without columns that say nothing."""
    used = [name for name in HEADERS if any(item[name] not in (None, "") for item in items)]
    if not any(item["pinned"] for item in items):
        used = [name for name in used if name != "pinned"]
    return table(used or HEADERS, [[item[name] for name in used] for item in items], widest=_WIDEST_NAME)


def answered(result: Answer) -> list[str]:
    """Who answers, after what, and under which rules."""
    session = f"items of the session are {result.seen_items}" if result.session else "for there is no session here"
    lines = [f"Served by {result.served_by}, {session}."]
    seen = [[fitted(cell(event[name]), _WIDEST_NAME) for name in ("item_id", "title")] for event in result.session]
    lines += [f"  after {item}  {title}" for item, title in seen]
    if result.unknown:
        lines.append(f"Unknown items left out: {cell(result.unknown)}.")
    return [*lines, f"Rules: {result.rules}."] if result.rules else lines
