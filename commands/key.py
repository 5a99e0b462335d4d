"""`hubspoke key`: the keys that callers of `hubspoke serve` show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from ..errors import UsageError
from ..workflows.typed_lists import names
from .call import Call, Noun
from .options import dry_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..serving.keys import NewKey, Scope

file_option = click.option("--file", default="keys.json", show_default=True, metavar="FILE", help="File of the keys.")


@click.group(cls=Noun)
def key() -> None:
    """Keys: who may ask a service that runs with --keys FILE; the file holds their hashes alone."""


@key.command(example=("hubspoke key add shop", "hubspoke key add backoffice --scopes read,events,admin"))
@click.argument("name")
@click.option(
    "--scopes", default="read", show_default=True, metavar="A,B", help="What it is good for: read, events, admin."
)
@file_option
@dry_run
def add(call: Call, name: str, scopes: str, file: str, dry_run: bool) -> None:
    """Make a key and print it, once: `read` asks, `events` tells what shoppers do, `admin` changes what serves."""
    from ..serving.keys import SCOPES, add_key

    wanted = names(scopes)
    if unknown := [scope for scope in wanted if scope not in SCOPES]:
        raise UsageError(f"{unknown[0]!r} is no scope; use some of {', '.join(SCOPES)}.")
    call.show(add_key(Path(file), name, cast("Sequence[Scope]", wanted), dry_run), made)


@key.command("list", example="hubspoke key list")
@file_option
def list_(call: Call, file: str) -> None:
    """The keys of a file: names, scopes and when they were made."""
    from ..serving.keys import list_keys

    columns = {"name": "name", "scopes": "scopes", "made": "created_at"}
    call.show_list("keys", list_keys(Path(file)), columns, "No key yet; make one with `hubspoke key add NAME`.")


@key.command(example="hubspoke key remove shop")
@click.argument("name")
@file_option
@dry_run
def remove(call: Call, name: str, file: str, dry_run: bool) -> None:
    """Take a key out of a file; a service that runs refuses it a second later."""
    from ..serving.keys import remove_key

    call.show(remove_key(Path(file), name, dry_run))


def made(key: NewKey) -> str:
    """The key itself: nothing else on stdout, so that a script can take it."""
    return key.key or f"{key.file} would get a key {key.name!r} for {', '.join(key.scopes)}."
