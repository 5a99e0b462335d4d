"""`hubspoke console`: the workspace as pages, for those who would rather look than type."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from .call import Call, command
from .options import together

changing_options = together(
    click.option(
        "--allow-changes",
        is_flag=True,
        help="Let whoever signs in promote, roll back and write rules: with the token told at the start, a key of the "
        "scope admin, or as the proxy's user.",
    ),
    click.option("--user-header", metavar="NAME", help="Header in which a proxy in front names the user."),
    click.option(
        "--public-host",
        "public_hosts",
        multiple=True,
        metavar="NAME",
        help="Name it is reached by beside localhost (several times).",
    ),
)


@command(
    example=("hubspoke console", "hubspoke console --allow-changes", "hubspoke console --host 0.0.0.0 --keys k.json")
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="Port; 0 is any free one.")
@click.option("--keys", metavar="FILE", help="File of the keys to sign in with, made with `hubspoke key`.")
@click.option("--open-to-all", is_flag=True, help="Listen off this machine although anybody may look.")
@changing_options
def console(call: Call, keys: str | None, **options: Any) -> None:
    """Show the workspace in a browser until the process is stopped.

    Categories with their products, releases and quality; sessions to try with the reasons of every recommendation;
    lineage, data, rules and the map of the products. It only shows, unless --allow-changes is given.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from ..serving import require_extra

    require_extra()
    from ..console.server import serve_console
    from ..console.settings import ConsoleSettings

    settings = ConsoleSettings(keys=Path(keys) if keys else None, **options)
    settings.require_safe()
    call.flags = {**call.flags, "threads": 1}

    def listening(address: str, token: str | None) -> None:
        call.show({"address": address, "token": token}, told(address, token))

    with suppress(KeyboardInterrupt):  # asked to stop, it has stopped
        serve_console(call.workspace(), settings, listening)


def told(address: str, token: str | None) -> str:
    """Where the console is, and what to sign in with."""
    signing = f"\nTo change something, sign in with the token {token}" if token else ""
    return f"The console is at {address}{signing}"
